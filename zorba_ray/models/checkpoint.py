"""Whether a checkpoint is whole: every weight that reaches the loss is one that the files hold."""

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from zorba_ray.errors import ModelError
from zorba_ray.models.loaded import LoadedModel

_LISTED = 6
"""Keys that a message lists."""
_SETTINGS_BYTES = 1 << 20
"""Largest config.json that is read; real ones have a few kilobytes."""
_TOKENIZER_BYTES = 200 << 20
"""Largest tokenizer.json that is read; that of a vocabulary of 262,144 has 33 MB."""
_SIZES = (
    "vocab_size", "hidden_size", "d_model", "n_embd", "intermediate_size", "ffn_dim", "n_inner",
)  # fmt: skip
"""Settings that are one side of a weight: each of them needs that many bytes of weights at least."""
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def require_whole(loaded: LoadedModel, report: Mapping[str, Any]) -> None:
    """Whether the files gave every weight that reaches the loss, in its shape, and hold none that the model should use.

    Args:
        report: the loading information of transformers.

    Raises:
        ModelError: lists the keys.
    """
    missing = sorted(key for key in map(str, report["missing_keys"]) if key not in loaded.unused)
    unexpected = sorted(map(str, report["unexpected_keys"]))
    mismatched = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"])
    if mismatched:
        raise ModelError(
            f"model.path={loaded.label}: weights of another shape than config.json says: {_keys(mismatched)}; take "
            "config.json and weights from the same model"
        )
    if missing:
        raise ModelError(
            f"model.path={loaded.label}: the files lack weights that the model needs: {_keys(missing)}"
            f"{_renamed(missing, unexpected)}; freshly drawn weights are never trained on: take a whole checkpoint, or "
            "save the model again with save_pretrained"
        )
    ignored = [key for key in unexpected if _belongs(key, loaded)]
    if ignored:
        raise ModelError(
            f"model.path={loaded.label}: the files hold weights of the blocks or of the head that this architecture "
            f"does not use: {_keys(ignored)}; without them the model is another one: see that config.json is this "
            "model's, and merge adapters into the weights first"
        )


def require_finite(loaded: LoadedModel) -> None:
    """Whether all weights are numbers.

    Raises:
        ModelError: names the tensor, or a kind of weights that is no floating point.
    """
    for name, parameter in loaded.network.named_parameters():
        if name in loaded.unused:
            continue
        if not parameter.is_floating_point():
            raise ModelError(
                f"model.path={loaded.label}: {name} is of {parameter.dtype}: quantised weights cannot be trained; take "
                "the model in 16 or 32 bits"
            )
        if not bool(torch.isfinite(parameter).all()):
            raise ModelError(f"model.path={loaded.label}: {name} holds NaN or infinity; the files are damaged")


def require_sane_folder(folder: Path, label: str) -> None:
    """Whether a model's folder can be read in seconds: before anything is built from it.

    Raises:
        ModelError: settings that are no JSON object, too large, or of sizes that its weights cannot have.
    """
    path = folder / "config.json"
    settings = _read_settings(path, label)
    quantised = settings.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "an unknown kind") if isinstance(quantised, dict) else "an unknown kind"
        raise ModelError(
            f"model.path={label}: the weights are quantised ({str(method)[:40]}) and cannot be trained; take the model "
            "in 16 or 32 bits"
        )
    tokenizer = folder / "tokenizer.json"
    if tokenizer.is_file() and tokenizer.stat().st_size > _TOKENIZER_BYTES:
        raise ModelError(f"model.path={label}: tokenizer.json has more than {_TOKENIZER_BYTES >> 20} MiB")
    files = [file for file in folder.iterdir() if file.suffix in _WEIGHTS and file.is_file()]
    weights = sum(file.stat().st_size for file in files)
    if not weights:
        return
    for name, value in _sizes(settings):
        most = weights // 100 if name in _LAYERS else weights
        if value > most:
            raise ModelError(
                f"model.path={label}: config.json says {name}={str(value)[:20]}, more than {weights} bytes of weights "
                "can hold; take config.json and weights from the same model"
            )
    for file in files:
        _require_no_bomb(file, label)


def _read_settings(path: Path, label: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _SETTINGS_BYTES:
            raise ModelError(f"model.path={label}: config.json has more than {_SETTINGS_BYTES >> 10} KiB")
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"model.path={label}: no config.json in this folder; a Hugging Face folder is needed"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model.path={label}: config.json is no JSON object ({str(error)[:120]})") from error
    if not isinstance(settings, dict):
        raise ModelError(f"model.path={label}: config.json is no JSON object")
    return settings


def _sizes(settings: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _sizes(value)
        elif name in (*_SIZES, *_LAYERS) and isinstance(value, int):
            yield name, value


def _require_no_bomb(file: Path, label: str) -> None:
    """A torch file is a zip that is not compressed; one that unpacks to far more is none."""
    if file.suffix == ".safetensors" or not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 2 * file.stat().st_size:
        raise ModelError(f"model.path={label}: {file.name} unpacks to {unpacked} bytes; save it as safetensors")


def _keys(keys: list[str]) -> str:
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


def _belongs(key: str, loaded: LoadedModel) -> bool:
    """Whether a weight that was not used is one of the model's blocks, or a bias of its output layer."""
    tail = loaded.blocks_name.rpartition(".")[2]
    in_blocks = re.search(rf"(^|\.){re.escape(tail)}\.\d+\..*(weight|bias|lora_|absmax|scale|zeros)", key) is not None
    return in_blocks or (loaded.causal and key == "lm_head.bias")
