"""A model's folder as others wrote it: its settings, and what its weights' headers say, before anything is built.

Nothing is read but text of sizes that models have and headers of weights, in seconds. Nothing of a pickle but tensors
is ever unpickled.
"""

import json
import math
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from zorba_ray.errors import ModelError
from zorba_ray.printable import first_line, shown

_SETTINGS_BYTES = 1 << 20
"""Largest config.json that is read; real ones have a few kilobytes."""
_TEXT_BYTES = 32 << 20
"""Largest of the other JSON files; an index of 90,000 tensors has 9 MB."""
_VOCABULARY_BYTES = 100 << 20
"""Largest file of a tokenizer; that of a vocabulary of 262,144 has 33 MB."""
_TOKENIZER_BYTES, _BYTES_PER_TOKEN = 16 << 20, 1_000
"""Real ones have 130 bytes a token, merges included."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model")
_MOST = 100_000
"""Heads, experts, labels: lists of that many are made before any weight is looked at."""
_MOST_BLOCKS = 2_000
"""Blocks, which may share their weights and take none."""
_BLOCKS = re.compile(r"(^|_)(layers?|blocks?|stages?|depths?)(_|$)")
_COUNTS = re.compile(r"(^|_)(groups?|heads?|experts?|labels?|codebooks?|streams?)(_|$)")
_NO_COUNT = re.compile(r"vocab|size|dim|length|position|window|context|ratio|width|theta|scale|token|_ids?$")
_CODE = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Settings by which transformers fetches kernels, which are code, from the hub."""
_TRAINABLE = {"F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16"}
"""Kinds of numbers that weights can be trained from, as the two formats name them."""
_SINGLE = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Stored:
    """A tensor as its file names it."""

    shape: tuple[int, ...]
    kind: str
    """Of its numbers, as in `F32`."""

    @property
    def trainable(self) -> bool:
        """16, 32 or 64 bits, floating point, and no part of a quantised weight."""
        return self.kind in _TRAINABLE


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


class Folder:
    """A folder in Hugging Face layout, and its config.json as `settings`."""

    def __init__(self, path: Path, label: str) -> None:
        """`label`: `model.path`, for messages.

        Raises:
            ModelError: an adapter's folder; files of other sizes or kinds than models have; a config.json that is no
                JSON object, of numbers that no model has, that names code, or quantised weights.
        """
        self.path, self._label = path, label
        self._require_plain_files()
        self.settings = self._read_settings()
        self._require_plain_settings()

    def refused(self, why: str) -> ModelError:
        """The error of a folder that is not taken."""
        return ModelError(f"model.path={self._label}: {why}")

    def require_small_tokenizer(self, rows: int) -> None:
        """Whether tokenizer.json is no larger than that of a model with `rows` tokens can be; it takes ten times its
        bytes.

        Raises:
            ModelError: it is.
        """
        path, most = self.path / "tokenizer.json", _TOKENIZER_BYTES + _BYTES_PER_TOKEN * rows
        if path.is_file() and (size := path.stat().st_size) > most:
            raise self.refused(
                f"tokenizer.json has {size:,} bytes, more than the {most:,} that are read for a model of {rows:,} "
                "tokens; take the model's own"
            )

    def weights(self) -> Weights:
        """The tensors of the files that transformers reads.

        Raises:
            ModelError: no files, files outside of the folder, or damaged ones; files with anything but tensors.
        """
        files = self._weight_files()
        tensors: dict[str, Stored] = {}
        for file in files:
            try:
                tensors |= _safetensors(file) if file.suffix == ".safetensors" else self._pickled(file)
            except ModelError:
                raise
            except Exception as error:  # damaged files fail in many ways
                raise self.refused(
                    f"{file.name} is damaged or holds no weights ({first_line(error)}); fetch it again, or save the "
                    "model again with save_pretrained"
                ) from error
        return Weights(tensors, sum(file.stat().st_size for file in files))

    def _require_plain_files(self) -> None:
        """Whether what is read as text are files of sizes that models have, and none of them is an adapter's."""
        if (self.path / "adapter_config.json").exists():
            raise self.refused(
                "the folder holds an adapter (adapter_config.json); set model.path to its base model and "
                "model.lora.path to this folder, or merge it into its base model (merge_and_unload) and save that"
            )
        for path in sorted(self.path.iterdir()):
            try:
                facts = path.stat()
            except OSError:  # a link to nothing
                continue
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
                raise self.refused(f"{shown(path.name)} is no file but a device or pipe; take it away")
            most = _VOCABULARY_BYTES if path.name in _VOCABULARIES else _TEXT_BYTES if path.suffix == ".json" else None
            if most is not None and facts.st_size > most:
                raise self.refused(
                    f"{shown(path.name)} has {facts.st_size:,} bytes, more than the {most:,} that are read; take the "
                    "model's own"
                )

    def _read_settings(self) -> dict[str, Any]:
        path = self.path / "config.json"
        if not path.is_file():
            file = next(iter(sorted(self.path.glob("*.gguf"))), None)
            instead = f"; set model.path to its file {shown(file.name)}" if file else ""
            raise self.refused(f"no config.json in this folder; a Hugging Face folder is needed{instead}")
        if path.stat().st_size > _SETTINGS_BYTES:
            raise self.refused(f"config.json has more than {_SETTINGS_BYTES >> 10} KiB")
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(settings, dict):
                raise ValueError(f"but {shown(settings)}")
        except (OSError, ValueError, RecursionError) as error:
            raise self.refused(f"config.json is no JSON object ({str(error)[:120]}); fetch it again") from error
        return settings

    def _require_plain_settings(self) -> None:
        """Whether they name a network that can be built, of sizes that networks have, and no code."""
        names, kind = self.settings.get("architectures"), self.settings.get("model_type", "")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise self.refused(f"config.json says architectures={shown(names)}, which is no list of names")
        if not isinstance(kind, str):
            raise self.refused(f"config.json says model_type={shown(kind)}, no name")
        for name, value in _entries(self.settings):
            most = _most(name)
            if most is not None and isinstance(value, int) and value > most:
                raise self.refused(
                    f"config.json says {shown(name)[1:-1]}={shown(value)}, more than the {most:,} that are taken; take "
                    "config.json and weights from the same model"
                )
            if name in _CODE and isinstance(value, str) and "/" in value:
                raise self.refused(
                    f"config.json names code to fetch and run ({name}={shown(value)}), which is never done; take "
                    f"{name} out of it"
                )
        if quantised := self.settings.get("quantization_config"):
            method = quantised.get("quant_method") if isinstance(quantised, dict) else None
            raise self.refused(
                f"the weights are quantised ({shown(method or 'an unknown kind')}) and cannot be trained; take the "
                "model in 16 or 32 bits"
            )

    def _weight_files(self) -> list[Path]:
        """In transformers' order: what config.json names, one file, or the shards of an index."""
        named = self.settings.get("transformers_weights")
        known = [form for single in _SINGLE for form in (single, f"{single}.index.json")]
        names = [named] if isinstance(named, str) else known
        name = next((name for name in names if (self.path / name).is_file()), None)
        if name is None:
            raise self.refused(
                f"no weights ({_SINGLE[0]} or {_SINGLE[1]}, or their index) in this folder; save the model with "
                "save_pretrained"
            )
        shards = self._shards(name) if name.endswith(".index.json") else [name]
        for shard in shards:
            if Path(shard).is_absolute() or ".." in Path(shard).parts:
                raise self.refused(f"{name} names weights outside of the folder ({shard[:120]!r}); copy them into it")
            if not (self.path / shard).is_file():
                raise self.refused(f"{name} names {shard[:120]!r}, which is not there; fetch the whole model")
        return [self.path / shard for shard in shards]

    def _shards(self, name: str) -> list[str]:
        try:
            table = json.loads((self.path / name).read_text(encoding="utf-8"))["weight_map"]
            shards = sorted(set(table.values()))
            if not shards or not all(isinstance(shard, str) for shard in shards):
                raise ValueError("no names of files")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.refused(f"{name} is no index of weights ({first_line(error)}); fetch it again") from error
        return shards

    def _pickled(self, file: Path) -> dict[str, Stored]:
        """Tensors of a `torch.save` file, without their numbers where it is a zip."""
        zipped = zipfile.is_zipfile(file)
        if zipped:
            with zipfile.ZipFile(file) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise self.refused(
                        f"{file.name} is compressed, as torch.save never writes it; save it as safetensors"
                    )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about protocols of pickles
                held = torch.load(file, map_location="meta", weights_only=True, mmap=zipped)
        except Exception as error:
            raise self.refused(
                f"{file.name} is damaged, or holds other Python objects than tensors, which are never loaded, as they "
                "can run code; save the model as safetensors"
            ) from error
        if not isinstance(held, Mapping) or not all(isinstance(value, torch.Tensor) for value in held.values()):
            raise self.refused(
                f"{file.name} is no table of weights by name (a checkpoint of a trainer?); save the model with "
                "save_pretrained"
            )
        return {str(name): Stored(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in held.items()}


def _safetensors(file: Path) -> dict[str, Stored]:
    with safe_open(file, framework="pt") as opened:
        pieces = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        return {name: Stored(tuple(piece.get_shape()), str(piece.get_dtype())) for name, piece in pieces.items()}


def _most(name: str) -> int | None:
    """The largest value of a setting that counts parts of a network; None: it counts none."""
    if _NO_COUNT.search(name):
        return None
    return _MOST_BLOCKS if _BLOCKS.search(name) else _MOST if _COUNTS.search(name) else None


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of parts too."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _entries(value)
        else:
            yield name, value
