"""Whether a checkpoint is whole: every weight that reaches the loss is one that the files hold."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from zorba_ray.errors import ModelError
from zorba_ray.models.folder import Stored
from zorba_ray.models.loaded import LoadedModel

_LISTED = 6
"""Keys that a message lists."""
_TABLES = re.compile(
    r"(inv_freq|masked_bias|causal_mask|attn_mask|position_ids|token_type_ids|num_batches_tracked|relative_position_index)$"
)
"""Tables that earlier versions of transformers saved among the weights, and that are now computed."""
_WHOLE = ("I64", "I32", "int64", "int32")
_STEM = re.compile(r"embed|wpe|wte|norm|ln_|project|position", re.IGNORECASE)
_ADAPTER = re.compile(r"(^|\.)(lora_|ia3_|adapter)")


def require_whole(loaded: LoadedModel, report: Mapping[str, Any], stored: Mapping[str, Stored]) -> None:
    """Whether the files gave every weight that reaches the loss, of the shape that config.json says, as finite numbers
    that can be trained, and none of them is passed over.

    Args:
        report: the loading information of transformers.
        stored: what the files hold.

    Raises:
        ModelError: lists the keys.
    """
    for what, keys, more in _faults(loaded, report, stored):
        if keys:
            raise ModelError(f"model.path={loaded.label}: {what} {_listed(sorted(keys))}{more}")
    for name, tensor in loaded.network.state_dict().items():
        if name not in loaded.unused and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"model.path={loaded.label}: {name} holds NaN or infinity; the files are damaged")


def _faults(
    loaded: LoadedModel, report: Mapping[str, Any], stored: Mapping[str, Stored]
) -> Iterator[tuple[str, list[str], str]]:
    """(what is wrong, with which keys, what more is to be said), the worst first; of no keys nothing is wrong."""
    yield (
        "weights of another shape than config.json says:",
        [f"{name} {list(held)} for {list(wanted)}" for name, held, wanted in report["mismatched_keys"]],
        "; take config.json and weights from the same model",
    )
    missing = sorted(key for key in map(str, report["missing_keys"]) if key not in loaded.unused)
    unexpected = sorted(map(str, report["unexpected_keys"]))
    beside = f"; they hold {_listed(unexpected)}, which the model does not know" if unexpected else ""
    yield (
        "the files lack weights that the model needs:",
        missing,
        f"{beside}{_renamed(missing, unexpected)}. Freshly drawn weights are never trained on: take a whole "
        "checkpoint, or save the model again with save_pretrained",
    )
    yield (
        "weights in numbers that cannot be trained:",
        [
            f"{key} ({tensor.kind})"
            for key, tensor in stored.items()
            if not tensor.trainable and key not in unexpected and not _is_table(key, loaded.network, tensor.kind)
        ],
        "; take the model in 16 or 32 bits",
    )
    yield (
        "the files hold weights of the blocks, embeddings, norms or output layer that this architecture does not use:",
        [key for key in unexpected if _belongs(key, loaded, stored)],
        "; without them the model is another one: see that config.json is this model's, and merge adapters into the "
        "weights first",
    )


def _listed(keys: list[str]) -> str:
    rest = len(keys) - _LISTED
    return ", ".join(key[:120] for key in keys[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _renamed(missing: list[str], unexpected: list[str]) -> str:
    """What all of the files' own keys begin with, where that is all that keeps them apart."""
    for key in unexpected:
        for wanted in missing:
            if key.endswith(wanted) and key != wanted:
                begin = key.removesuffix(wanted)
                return f" (the files' own keys begin with {begin!r}: take it off, or save the unwrapped model)"
    return ""


def _belongs(key: str, loaded: LoadedModel, stored: Mapping[str, Stored]) -> bool:
    """Whether a weight that was not used is a part of what the model computes: a weight of a block, one more tensor of
    a layer that runs, or a layer beside the embeddings. Heads of other tasks and towers of other inputs are none.
    """
    network: Any = loaded.network
    if _ADAPTER.search(key):
        return True
    name = _within(key, network, stored)
    if name is None or _is_table(name, network):
        return False
    if re.match(rf"{re.escape(loaded.blocks_name)}\.\d+\.", name):
        return True
    layer = name.rpartition(".")[0]
    if (owner := _module(network, layer)) is not None:
        read = [f"{layer}.{own}" for own in owner._parameters]
        return any(tensor not in loaded.unused for tensor in read)
    parent, _, last = layer.rpartition(".")
    beside_backbone = bool(parent) or network.base_model is network
    return beside_backbone and _module(network, parent) is not None and _STEM.search(last) is not None


def _within(key: str, network: Any, stored: Mapping[str, Stored]) -> str | None:
    """The name that a key of the files has in the network; None: it is of a head, which the network does not have.

    Checkpoints of a model with a head put a prefix before the backbone's names, those of a bare backbone do not.
    """
    prefix = f"{network.base_model_prefix}."
    bare = network.base_model is network
    prefixed = prefix != "." and any(name.startswith(prefix) for name in stored)
    if bare:
        if not prefixed:
            return key
        return key.removeprefix(prefix) if key.startswith(prefix) else None
    return key if prefixed else f"{prefix}{key}"


def _is_table(key: str, network: Any, kind: str = "") -> bool:
    """Whether a tensor of the files is no weight: a mask, or a table of positions, tokens or experts."""
    if _TABLES.search(key):
        return True
    prefix = f"{network.base_model_prefix}."
    for name in (key, key.removeprefix(prefix), f"{prefix}{key}"):
        layer, _, own = name.rpartition(".")
        owner = _module(network, layer)
        if owner is not None:
            # A layer's bias stands in the layer; beside layers stands the causal mask of old attentions.
            mask = own == "bias" and own not in owner._parameters and next(owner.children(), None) is not None
            return mask or own in owner._buffers
    return kind in _WHOLE  # under another name in the network: weights are not kept in so many bits


def _module(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None
