"""A model's folder as others wrote it: whether it can be read in seconds, before anything is built from it."""

import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zorba_ray.errors import ModelError
from zorba_ray.printable import shown

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


def read_settings(path: Path, label: str) -> dict[str, Any]:
    """A model's config.json, which can be turned into a configuration.

    Raises:
        ModelError: it is no JSON object, too large, of numbers that no model has, names code, or quantised weights.
    """
    settings = _read(path, label)
    for name, value in _entries(settings):
        most = _most(name)
        if most is not None and isinstance(value, int) and value > most:
            raise ModelError(
                f"model.path={label}: config.json says {shown(name)[1:-1]}={shown(value)}, more than the {most:,} that "
                "are taken; take config.json and weights from the same model"
            )
        if name in _CODE and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"model.path={label}: config.json names code to fetch and run ({name}={shown(value)}), which is never "
                f"done; take {name} out of it"
            )
    quantised = settings.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "an unknown kind") if isinstance(quantised, dict) else "an unknown kind"
        raise ModelError(
            f"model.path={label}: the weights are quantised ({shown(method)}) and cannot be trained; take the model in "
            "16 or 32 bits"
        )
    return settings


def require_plain_files(folder: Path, label: str) -> None:
    """Whether the files that are read as text are files of sizes that models have, and none of them is an adapter's.

    Raises:
        ModelError: names the file.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"model.path={label}: the folder holds an adapter (adapter_config.json); merge it into its base model "
            "(merge_and_unload), and save that"
        )
    for path in sorted(folder.iterdir()):
        try:
            facts = path.stat()
        except OSError:  # a link to nothing
            continue
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            raise ModelError(f"model.path={label}: {shown(path.name)} is no file but a device or pipe; take it away")
        most = _VOCABULARY_BYTES if path.name in _VOCABULARIES else _TEXT_BYTES if path.suffix == ".json" else None
        if most is not None and facts.st_size > most:
            raise ModelError(
                f"model.path={label}: {shown(path.name)} has {facts.st_size:,} bytes, more than the {most:,} that are "
                "read; take the model's own"
            )


def require_small_tokenizer(folder: Path, rows: int, label: str) -> None:
    """Whether tokenizer.json is no larger than that of a model with `rows` tokens can be; it takes ten times its bytes.

    Raises:
        ModelError: it is.
    """
    path = folder / "tokenizer.json"
    most = _TOKENIZER_BYTES + _BYTES_PER_TOKEN * rows
    if path.is_file() and path.stat().st_size > most:
        raise ModelError(
            f"model.path={label}: tokenizer.json has {path.stat().st_size:,} bytes, more than the {most:,} that are "
            f"read for a model of {rows:,} tokens; take the model's own"
        )


def _read(path: Path, label: str) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"model.path={label}: no config.json in this folder; a Hugging Face folder is needed")
    if path.stat().st_size > _SETTINGS_BYTES:
        raise ModelError(f"model.path={label}: config.json has more than {_SETTINGS_BYTES >> 10} KiB")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"model.path={label}: config.json is no JSON object ({str(error)[:120]}); fetch it again"
        ) from error
    if not isinstance(settings, dict):
        raise ModelError(f"model.path={label}: config.json is no JSON object; fetch it again")
    names = settings.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ModelError(
            f"model.path={label}: config.json says architectures={shown(names)}, which is no list of names"
        )
    if not isinstance(settings.get("model_type", ""), str):
        raise ModelError(f"model.path={label}: config.json says model_type={shown(settings['model_type'])}, no name")
    return settings


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
