"""Blocks on a real GPU: copies on a side stream, pinned host memory, 16-bit compute. Skips without a device.

Written on a machine without one: not run on a GPU.
"""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from tests.support.tiny_models import tiny_batch, tiny_loaded
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend
from zorba_ray.formats import Format
from zorba_ray.models import HostStore, Placement, TaskModel
from zorba_ray.zo import Estimator, PendingCommits, RoundUpdate, UpdateRule

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

RULE = UpdateRule(7, "per_client", "data", "rademacher", "all", 2, 1, (4,))
PLACEMENTS = tuple(Placement(frozen, master) for frozen in ("device", "host") for master in ("device", "host"))
WORDS = ("alpha", "beta", "gamma")


def rounds_of(kind: str, placement: Placement, dtype: torch.dtype) -> tuple[np.ndarray, str]:
    """(scalars [3, K, P], digest of θ) of three rounds of one client."""
    directions = direction_backend("auto", "cuda")
    config, store = ModelConfig.model_validate({"temperature": 5.0}), HostStore(dtype, apart=True, packs=True)
    model = TaskModel(tiny_loaded(kind), config, "{text}", WORDS, "all", directions, "cuda", 0, store)
    pending = PendingCommits(RULE, model.replica.manifest, direction_backend("numba"), directions)
    model.replica.commits = pending
    active = frozenset({1, 3})
    holds = ActiveSets.of_sets([active], model.replica.manifest.blocks)
    found = []
    for number in (1, 2, 3):
        model.use_placement(placement)
        batches = {0: [tiny_batch(kind, 3, 6, seed=number).to("cuda")]}
        scalars, _ = Estimator(model, directions, RULE, 0.02, 0.01).round(number, holds, batches)[0]
        found.append(scalars)
        pending.add([RoundUpdate(number, 0.02, np.array([0]), scalars[None], holds)])
    return np.stack(found), model.replica.digest()


@pytest.mark.parametrize("format", get_args(Format))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["opt", "gpt2", "llama", "bert"])
def test_every_placement_gives_the_same_bits(kind: str, dtype: torch.dtype, format: Format) -> None:
    (wanted, digest), *others = (rounds_of(kind, replace(each, format=format), dtype) for each in PLACEMENTS)
    assert np.isfinite(wanted).all()
    assert wanted.any()
    for placement, (found, other) in zip(PLACEMENTS[1:], others, strict=True):
        assert found.tobytes() == wanted.tobytes(), placement
        assert other == digest, placement
