"""The weights of a model's folder: which files they are in, and what tensors these say that they hold.

Nothing is read but headers, where a file has one, and nothing of a pickle but tensors is ever unpickled.
"""

import json
import math
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from zorba_ray.errors import ModelError
from zorba_ray.printable import first_line

FLOATS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
"""Kinds of numbers that weights can be trained from."""
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Stored:
    """A tensor as its file names it."""

    shape: tuple[int, ...]
    kind: str
    """Of its numbers, as in `F32`."""
    trainable: bool
    """16, 32 or 64 bits, floating point, and no part of a quantised weight."""


@dataclass(frozen=True)
class Weights:
    """What the files of a folder hold."""

    tensors: Mapping[str, Stored]
    bytes: int
    """Of the files together."""

    @property
    def elements(self) -> int:
        """Numbers that the files can hold at 16 bits or more each."""
        return min(sum(math.prod(tensor.shape) for tensor in self.tensors.values()), self.bytes // 2)


def weights_of(folder: Path, settings: Mapping[str, Any], label: str) -> Weights:
    """The tensors of the files that transformers reads from a folder.

    Args:
        settings: config.json.

    Raises:
        ModelError: no files, files outside of the folder, or damaged ones; files with anything but tensors.
    """
    files = _files(folder, settings, label)
    tensors: dict[str, Stored] = {}
    for file in files:
        try:
            tensors |= _of_safetensors(file) if file.suffix == ".safetensors" else _of_pickle(file, label)
        except ModelError:
            raise
        except Exception as error:  # damaged files fail in many ways
            raise ModelError(
                f"model.path={label}: {file.name} is damaged or holds no weights ({first_line(error)}); fetch it "
                "again, or save the model again with save_pretrained"
            ) from error
    return Weights(tensors, sum(file.stat().st_size for file in files))


def _files(folder: Path, settings: Mapping[str, Any], label: str) -> list[Path]:
    """In transformers' order: what config.json names, one file, or the shards of an index."""
    named = settings.get("transformers_weights")
    names = [named] if isinstance(named, str) else [_SINGLE[0], _INDEX[0], _SINGLE[1], _INDEX[1]]
    name = next((name for name in names if (folder / name).is_file()), None)
    if name is None:
        raise ModelError(
            f"model.path={label}: no weights ({_SINGLE[0]} or {_SINGLE[1]}, or their index) in this folder; save the "
            "model with save_pretrained"
        )
    shards = _shards(folder / name, label) if name.endswith(".index.json") else [name]
    files = []
    for shard in shards:
        file = folder / shard
        if Path(shard).is_absolute() or ".." in Path(shard).parts:
            raise ModelError(
                f"model.path={label}: {name} names weights outside of the folder ({shard[:120]!r}); copy them into it"
            )
        if not file.is_file():
            raise ModelError(
                f"model.path={label}: {name} names {shard[:120]!r}, which is not there; fetch the whole model"
            )
        files.append(file)
    return files


def _shards(index: Path, label: str) -> list[str]:
    try:
        table = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(table.values()))
        if not shards or not all(isinstance(shard, str) for shard in shards):
            raise ValueError("no names of files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"model.path={label}: {index.name} is no index of weights ({first_line(error)}); fetch it again"
        ) from error
    return shards


def _of_safetensors(file: Path) -> dict[str, Stored]:
    with safe_open(file, framework="pt") as opened:
        found = {}
        for name in opened.keys():  # noqa: SIM118 (no mapping)
            piece = opened.get_slice(name)
            kind = str(piece.get_dtype())
            found[name] = Stored(tuple(piece.get_shape()), kind, kind in _DTYPES)
        return found


def _of_pickle(file: Path, label: str) -> dict[str, Stored]:
    """Tensors of a `torch.save` file, without their numbers where it is a zip."""
    zipped = zipfile.is_zipfile(file)
    if zipped:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ModelError(
                f"model.path={label}: {file.name} is compressed, as torch.save never writes it; save it as safetensors"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols of pickles
            held = torch.load(file, map_location="meta", weights_only=True, mmap=zipped)
    except Exception as error:
        raise ModelError(
            f"model.path={label}: {file.name} is damaged, or holds other Python objects than tensors, which are never "
            "loaded, as they can run code; save the model as safetensors"
        ) from error
    if not isinstance(held, Mapping) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise ModelError(
            f"model.path={label}: {file.name} is no table of weights by name (a checkpoint of a trainer?); save the "
            "model with save_pretrained"
        )
    return {
        str(name): Stored(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.dtype in FLOATS)
        for name, tensor in held.items()
    }
