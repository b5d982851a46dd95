"""Reads a model's folder that others wrote, before a network is built: its settings and the headers of its weights.

It only reads text files of usual sizes and headers of weights, in seconds. From a pickle it only ever loads tensors.
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
"""Most bytes of config.json; real ones have a few kilobytes."""
_TEXT_BYTES = 32 << 20
"""Most bytes of another JSON file; an index of 90,000 tensors has 9 MB."""
_VOCABULARY_BYTES = 100 << 20
"""Most bytes of a tokenizer's file; with a vocabulary of 262,144 it has 33 MB."""
_TOKENIZER_BYTES, _BYTES_PER_TOKEN = 16 << 20, 1_000
"""Most bytes of tokenizer.json: a constant, and per token. Real ones have 130 bytes per token, with merges."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model")
_MOST = 100_000
"""Most heads, experts or labels: lists of this length are made before weights are read."""
_MOST_BLOCKS = 2_000
"""Most blocks; they may share weights, so the size of the weights does not limit them."""
_BLOCKS = re.compile(r"(^|_)(layers?|blocks?|stages?|depths?)(_|$)")
_COUNTS = re.compile(r"(^|_)(groups?|heads?|experts?|labels?|codebooks?|streams?)(_|$)")
_NO_COUNT = re.compile(r"vocab|size|dim|length|position|window|context|ratio|width|theta|scale|token|_ids?$")
_CODE = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Settings by which transformers downloads kernels, which are code, from the hub."""
_TRAINABLE = {"F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16"}
"""Number types of weights that can be trained, with the names of both formats."""
_SINGLE = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Stored:
    """Shape and number type of a tensor in a file."""

    shape: tuple[int, ...]
    kind: str
    """Type of its numbers, such as `F32`."""

    @property
    def trainable(self) -> bool:
        """Whether it is floating point with 16, 32 or 64 bits, and so not part of a quantised weight."""
        return self.kind in _TRAINABLE


@dataclass(frozen=True)
class Weights:
    """The tensors in the files of a folder."""

    tensors: Mapping[str, Stored]
    bytes: int
    """Bytes of all files together."""

    @property
    def elements(self) -> int:
        """Largest number of parameters in the files, at 16 bits or more each."""
        return min(sum(math.prod(tensor.shape) for tensor in self.tensors.values()), self.bytes // 2)


class Folder:
    """A folder in Hugging Face format, with its config.json as `settings`."""

    def __init__(self, path: Path, label: str) -> None:
        """`label`: `model.path`, for messages.

        Raises:
            ModelError: a folder of an adapter; files that are too large or not plain files; a config.json that is not a
                JSON object, has numbers that no model has, or names code; quantised weights.
        """
        self.path, self._label = path, label
        self._require_plain_files()
        self.settings = self._read_settings()
        self._require_plain_settings()

    def refused(self, why: str) -> ModelError:
        """The error for a folder that is refused."""
        return ModelError(f"model.path={self._label}: {why}")

    def require_small_tokenizer(self, rows: int) -> None:
        """Checks that tokenizer.json is not too large for a model with `rows` tokens. (Loading it takes ten times its
        bytes of memory.)

        Raises:
            ModelError: it is too large.
        """
        path, most = self.path / "tokenizer.json", _TOKENIZER_BYTES + _BYTES_PER_TOKEN * rows
        if path.is_file() and (size := path.stat().st_size) > most:
            raise self.refused(
                f"tokenizer.json has {size:,} bytes, and the limit for a model of {rows:,} tokens is {most:,}; use the "
                "tokenizer of this model"
            )

    def weights(self) -> Weights:
        """The tensors of the files that transformers reads.

        Raises:
            ModelError: no weights, files outside of the folder, damaged files, or files with other things than tensors.
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
                    f"{file.name} is damaged or has no weights ({first_line(error)}); download it again, or save the "
                    "model again with save_pretrained"
                ) from error
        return Weights(tensors, sum(file.stat().st_size for file in files))

    def _require_plain_files(self) -> None:
        """Checks that text files have usual sizes, that all files are plain ones, and that it is no adapter's
        folder."""
        if (self.path / "adapter_config.json").exists():
            raise self.refused(
                "the folder has an adapter (adapter_config.json); set model.path to its base model and "
                "model.lora.path to this folder, or merge it into its base model (merge_and_unload) and save that"
            )
        for path in sorted(self.path.iterdir()):
            try:
                facts = path.stat()
            except OSError:  # a link to nothing
                continue
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
                raise self.refused(f"{shown(path.name)} is a device or pipe and not a file; remove it")
            most = _VOCABULARY_BYTES if path.name in _VOCABULARIES else _TEXT_BYTES if path.suffix == ".json" else None
            if most is not None and facts.st_size > most:
                raise self.refused(
                    f"{shown(path.name)} has {facts.st_size:,} bytes, and the limit is {most:,}; use the file of this "
                    "model"
                )

    def _read_settings(self) -> dict[str, Any]:
        path = self.path / "config.json"
        if not path.is_file():
            file = next(iter(sorted(self.path.glob("*.gguf"))), None)
            instead = f"; or set model.path to its file {shown(file.name)}" if file else ""
            raise self.refused(f"no config.json in this folder; set model.path to a Hugging Face folder{instead}")
        if path.stat().st_size > _SETTINGS_BYTES:
            raise self.refused(
                f"config.json has more than {_SETTINGS_BYTES >> 10} KiB, the limit; use the file of this model"
            )
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(settings, dict):
                raise ValueError(f"it is {shown(settings)}")
        except (OSError, ValueError, RecursionError) as error:
            raise self.refused(f"config.json is not a JSON object ({str(error)[:120]}); download it again") from error
        return settings

    def _require_plain_settings(self) -> None:
        """Checks that the settings describe a network of usual sizes, and name no code."""
        names, kind = self.settings.get("architectures"), self.settings.get("model_type", "")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise self.refused(f"config.json has architectures={shown(names)}, which is not a list of names")
        if not isinstance(kind, str):
            raise self.refused(f"config.json has model_type={shown(kind)}, which is not a name")
        for name, value in _entries(self.settings):
            most = _most(name)
            if most is not None and isinstance(value, int) and value > most:
                raise self.refused(
                    f"config.json has {shown(name)[1:-1]}={shown(value)}, and the limit is {most:,}; use config.json "
                    "and weights of the same model"
                )
            if name in _CODE and isinstance(value, str) and "/" in value:
                raise self.refused(
                    f"config.json names code to download and run ({name}={shown(value)}), which is never done; remove "
                    f"{name} from it"
                )
        if quantised := self.settings.get("quantization_config"):
            method = quantised.get("quant_method") if isinstance(quantised, dict) else None
            raise self.refused(
                f"the weights are quantised ({shown(method or 'an unknown kind')}) and cannot be trained; use the "
                "model in 16 or 32 bits"
            )

    def _weight_files(self) -> list[Path]:
        """The files with weights: the file that config.json names, or else a single file or the shards of an index, in
        the order of transformers."""
        named = self.settings.get("transformers_weights")
        usual = [form for single in _SINGLE for form in (single, f"{single}.index.json")]
        names = [named] if isinstance(named, str) else usual
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
                raise self.refused(f"{name} names {shard[:120]!r}, which is missing; download the whole model")
        return [self.path / shard for shard in shards]

    def _shards(self, name: str) -> list[str]:
        try:
            table = json.loads((self.path / name).read_text(encoding="utf-8"))["weight_map"]
            shards = sorted(set(table.values()))
            if not shards or not all(isinstance(shard, str) for shard in shards):
                raise ValueError("it has no names of files")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.refused(f"{name} is not an index of weights ({first_line(error)}); download it again") from error
        return shards

    def _pickled(self, file: Path) -> dict[str, Stored]:
        """Tensors of a `torch.save` file. If it is a zip file, their numbers are not read."""
        zipped = zipfile.is_zipfile(file)
        if zipped:
            with zipfile.ZipFile(file) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise self.refused(
                        f"{file.name} is compressed, which torch.save never does; save the model as safetensors"
                    )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings about pickle protocols
                table = torch.load(file, map_location="meta", weights_only=True, mmap=zipped)
        except Exception as error:
            raise self.refused(
                f"{file.name} is damaged, or has Python objects other than tensors. These are never loaded, because "
                "they can run code; save the model as safetensors"
            ) from error
        if not isinstance(table, Mapping) or not all(isinstance(value, torch.Tensor) for value in table.values()):
            raise self.refused(
                f"{file.name} does not have weights by name (is it a checkpoint of a trainer?); save the model with "
                "save_pretrained"
            )
        return {str(name): Stored(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in table.items()}


def _safetensors(file: Path) -> dict[str, Stored]:
    with safe_open(file, framework="pt") as opened:
        pieces = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        return {name: Stored(tuple(piece.get_shape()), str(piece.get_dtype())) for name, piece in pieces.items()}


def _most(name: str) -> int | None:
    """The largest allowed value of a setting that counts parts of a network; None: the setting counts no parts."""
    if _NO_COUNT.search(name):
        return None
    return _MOST_BLOCKS if _BLOCKS.search(name) else _MOST if _COUNTS.search(name) else None


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of all settings, also in nested sections."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _entries(value)
        else:
            yield name, value
