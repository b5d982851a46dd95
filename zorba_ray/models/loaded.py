"""A network, prepared for the program: its blocks are found, adapters added, and one forward pass watched."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from zorba_ray.config.model import LoraConfig
from zorba_ray.errors import ModelError, ZorbaError
from zorba_ray.models.blocks import find_blocks
from zorba_ray.models.extent import SmallTables
from zorba_ray.models.lora import add_lora, draw_lora
from zorba_ray.models.peft_folder import read_adapter
from zorba_ray.models.swap import TensorsSwapped, nan_like
from zorba_ray.models.trace import LENGTH, ROWS, Trace, watch, without_cache
from zorba_ray.printable import first_line


@dataclass(frozen=True)
class LoadedModel:
    """A Hugging Face model, in eval mode, on one device; its modules are not wrapped."""

    network: Any
    backbone: nn.Module
    """The network without its head: inputs -> last hidden state [B, T, H]."""
    blocks: nn.ModuleList
    blocks_name: str
    """Dotted name of the list of blocks inside `network`."""
    tokenizer: Any
    causal: bool
    """True: a causal LM with an output embedding. False: an encoder."""
    label: str
    """`model.path`, for messages."""
    trace: Trace
    """What one forward pass showed."""
    unused: frozenset[str]
    """Names of parameters that the loss does not depend on (an encoder's pooler). They are not part of θ."""
    fresh: frozenset[str] = frozenset()
    """Names of tensors that the checkpoint lacks."""


def loaded_model(
    network: Any, tokenizer: Any, causal: bool, label: str, lora: LoraConfig | None = None, fresh: Collection[str] = ()
) -> LoadedModel:
    """Finds the blocks of `network`, adds adapters to them, and watches one forward pass.

    Raises:
        ModelError: no list of blocks; a network that cannot run on text alone, or changes its weights when it runs; a
            block that does not run.
    """
    network.eval().requires_grad_(False)
    ids = sample_ids(network, label)
    versions = {name: parameter._version for name, parameter in network.named_parameters()}

    def forward() -> None:
        with torch.no_grad(), running(label), SmallTables(label):
            network(input_ids=ids, attention_mask=torch.ones_like(ids), **without_cache(network))

    name, blocks = find_blocks(network, label, forward)
    backbone = network
    if causal:
        backbone = network.base_model if network.base_model is not network else getattr(network, name.split(".")[0])
    if backbone is blocks:
        raise ModelError(f"model.path={label}: {type(network).__name__} has no backbone apart from its head")
    if lora is not None:
        for parameter in add_lora(blocks, lora.rank, lora.alpha, lora.targets, label):
            parameter.requires_grad_(False)
        draw_lora(blocks)
        if lora.path is not None:
            read_adapter(network, lora)
    with running(label):
        with SmallTables(label):
            trace = watch(network, backbone, blocks, ids)
        unused = _unused(network, causal, ids, trace, name)
    for tensor, parameter in network.named_parameters():
        if parameter._version != versions.get(tensor, parameter._version):
            raise ModelError(
                f"model.path={label}: its forward pass changes the weights {tensor}, so θ would differ from the "
                "checkpoint; switch that off in its config.json, or choose another model"
            )
    idle = sorted(set(range(len(blocks))) - set(trace.order))
    if idle:
        raise ModelError(
            f"model.path={label}: block {idle[0]} of {name} does not run on text; only models that run every block are "
            "supported"
        )
    return LoadedModel(network, backbone, blocks, name, tokenizer, causal, label, trace, unused, frozenset(fresh))


def sample_ids(network: Any, label: str) -> torch.Tensor:
    """[ROWS, LENGTH] different tokens of the model's vocabulary, without padding tokens, on the model's device.

    Raises:
        ModelError: the model has no input embedding.
    """
    try:
        embedding = network.get_input_embeddings()
        vocabulary = int(embedding.weight.shape[0])
    except (NotImplementedError, AttributeError) as error:
        raise ModelError(
            f"model.path={label}: {type(network).__name__} has no input embedding for tokens; choose a language model"
        ) from error
    settings = network.config.get_text_config()
    pads = {getattr(settings, "pad_token_id", None), getattr(embedding, "padding_idx", None)}
    tokens = [token for token in range(min(vocabulary, 4 * ROWS * LENGTH)) if token not in pads] or [0]
    spread = [tokens[(7 + 13 * position) % len(tokens)] for position in range(ROWS * LENGTH)]
    return torch.tensor(spread, device=embedding.weight.device).view(ROWS, LENGTH)


@contextlib.contextmanager
def running(label: str) -> Iterator[None]:
    """A context in which errors of a network's own code become a `ModelError`.

    Raises:
        ModelError: names the model and quotes the error.
    """
    try:
        yield
    except (ZorbaError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"model.path={label}: the model cannot be run here ({type(error).__name__}: {first_line(error, 200)}); a "
            "decoder or encoder that takes input_ids and attention_mask is needed, on a real GPU one that computes in "
            "16 bits or memory.compute_dtype=fp32"
        ) from error


def _unused(network: Any, causal: bool, ids: torch.Tensor, trace: Trace, blocks: str) -> frozenset[str]:
    """Parameters outside the blocks that do not change the model's answer, tested with NaN in their place.

    Only parameters are tested that the forward pass reads late or never. Tensors without memory cannot be tested: the
    set is empty.
    """
    if isinstance(next(network.parameters()), FakeTensor):
        return frozenset()
    owners: dict[nn.Module, list[str]] = {}
    early = {id(p) for name, p in network.named_parameters(remove_duplicate=False) if name in trace.early}
    for name, parameter in network.named_parameters():
        if not name.startswith(f"{blocks}.") and id(parameter) not in early:
            owners.setdefault(network.get_submodule(name.rpartition(".")[0]), []).append(name)
    unused: set[str] = set()
    for owner, names in owners.items():
        nans = [(owner, key, nan_like(tensor)) for key, tensor in owner._parameters.items() if tensor is not None]
        with TensorsSwapped(nans), torch.no_grad():
            answer = network(input_ids=ids, attention_mask=torch.ones_like(ids), **trace.options)
        output = answer.logits if causal else answer[0]
        if not bool(output.isnan().any()):
            unused.update(names)
    return frozenset(unused)
