"""The check of forward pairs for a run: on which rows, for which path, and what was checked before.

A check that was passed is remembered in the user's cache folder, by everything that it depends on: weights, settings of
the model, this program's code, versions of the libraries, and the path of the pairs.
"""

import functools
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers

from zorba_ray.config import ExperimentConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ModelError
from zorba_ray.models import Batch, TaskModel
from zorba_ray.models.loaded import sample_ids
from zorba_ray.models.pair_check import PairPath, Verdict, check_pairs
from zorba_ray.models.plain_loss import PlainLoss

_LENGTHS = ((6, 3, 4), (4, 4))
"""Tokens of the rows of each batch: one with padding, one without."""
_VERDICT_CHARACTERS = 10_000
_CODE = ("models", "directions")
"""Packages that compute a pair's losses."""


def require_right_pairs(config: ExperimentConfig, model: TaskModel, weights: str | None = None) -> str:
    """Checks a model's pairs as the run computes them, unless the same check was passed before; returns θ's SHA-256.

    Args:
        weights: SHA-256 of θ, if it is known.

    Raises:
        ModelError: the losses are not those of the model.
    """
    before = weights or model.replica.digest()
    path = _path(config, model)
    plain = PlainLoss(model, config.model, config.data.prompt, config.data.label_words, cpu_directions("auto"))
    key = _key(config, model, before, path, plain)
    if _passed(key):
        return before
    batches = list(_batches(model, len(config.data.label_words), config.data.max_length))
    verdict = check_pairs(model, plain, batches, path)
    if model.replica.digest() != before:
        raise ModelError(f"model.path={model.loaded.label}: a forward pair wrote θ: report this as a defect")
    _remember(key, verdict)
    return before


def _path(config: ExperimentConfig, model: TaskModel) -> PairPath | None:
    if config.spec.backward:
        return None
    zo = config.zo
    # Blocks that come and go serve one client at a time.
    together = config.federation.seeds == "shared" and config.local_steps == 1 and model.store is None
    return PairPath(1 if zo.difference == "forward" else 2, together, zo.distribution)


def _batches(model: TaskModel, labels: int, max_length: int) -> Iterator[Batch]:
    """Short rows of tokens from all over the vocabulary."""
    pad = int(model.loaded.tokenizer.pad_token_id)
    tokens = [
        token for token in sample_ids(model.loaded.network, model.loaded.label).flatten().tolist() if token != pad
    ]
    place = 0
    for lengths in _LENGTHS:
        lengths = [min(length, max_length) for length in lengths]
        ids = torch.full((len(lengths), max(lengths)), pad, device=model.device)
        mask = torch.zeros_like(ids)
        for row, length in enumerate(lengths):
            ids[row, :length] = torch.tensor([tokens[(place + i) % len(tokens)] for i in range(length)])
            mask[row, :length] = 1
            place += length + 1
        yield Batch(ids, mask, torch.arange(len(lengths), device=model.device) % max(labels, 1))


def _key(config: ExperimentConfig, model: TaskModel, weights: str, path: PairPath | None, plain: PlainLoss) -> str:
    prompts = None if plain.prompts is None else [part.tolist() for part in plain.prompts]
    lora = None if config.model.lora is None else config.model.lora.model_dump()
    facts: dict[str, Any] = {
        "weights": weights,
        "manifest": model.replica.manifest.digest,
        "settings": model.loaded.network.config.to_json_string(),
        "code": _code_digest(),
        "versions": [torch.__version__, transformers.__version__, platform.machine(), torch.get_num_threads()],
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": model.device if model.device == "cpu" else torch.cuda.get_device_name(model.device),
        "dtype": str(model.compute),
        "store": model.store is not None,
        "scope": model.scope,
        "rank": model.rank,
        "lora": lora,
        "path": None if path is None else asdict(path),
        "head": [plain.kind, list(plain.tokens), prompts, plain.temperature],
        "batches": [_LENGTHS, config.data.max_length, int(model.loaded.tokenizer.pad_token_id)],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@functools.cache
def _code_digest() -> str:
    hasher = hashlib.sha256()
    for package in _CODE:
        folder = Path(str(resources.files("zorba_ray") / package))
        for file in sorted(folder.glob("*.py")):
            hasher.update(file.name.encode() + file.read_bytes())
    return hasher.hexdigest()


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zorba-ray" / "pair-checks"


def _passed(key: str) -> bool:
    try:
        with (_folder() / f"{key}.json").open(encoding="utf-8") as file:
            return json.loads(file.read(_VERDICT_CHARACTERS))["passed"] == key
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # nested too deep, and no home, are the last
        return False


def _remember(key: str, verdict: Verdict) -> None:
    """A folder that cannot be written costs the next run a check and nothing else."""
    with suppress(OSError, RuntimeError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{key}.{os.getpid()}"
        fresh.write_text(json.dumps({"passed": key, **asdict(verdict)}), encoding="utf-8")
        fresh.replace(folder / f"{key}.json")
