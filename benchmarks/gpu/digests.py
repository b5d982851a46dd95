"""Whether the GPU gives the bits of the CPU, and whether its bits depend on where blocks are kept."""

import functools
import itertools
from typing import get_args

import numpy as np
import torch

from benchmarks.alternate import Goal
from benchmarks.gpu.device import Device
from benchmarks.gpu.session import Session
from benchmarks.shapes import PROMPT, WORDS, Shape, batch, loaded, network
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ModelConfig
from zorba_ray.directions import Distribution, Terms, direction_backend
from zorba_ray.formats import Format, PackedFormat, pack_into, slab, unpack_into
from zorba_ray.models import HostStore, Placement, Replica, TaskModel, load_model
from zorba_ray.zo import Estimator, PendingCommits, RoundUpdate, UpdateRule

DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SAME: Goal = "0", lambda found: found == 0
_SMALL = Shape(4, 64)
_RULE = UpdateRule(7, "per_client", "data", "rademacher", "all", 2, 1, (4,))


def measure(session: Session) -> None:
    """A row per distribution, per packed format and dtype, and per format and dtype of whole rounds."""
    for distribution in DISTRIBUTIONS:
        name = f"θ of the built-in model after a {distribution} commit of 64: replicas that differ from the CPU's"
        session.row(name, "", _SAME, functools.partial(_commit_differs, session, distribution))
    for format, dtype in itertools.product(get_args(PackedFormat), DTYPES):
        name = f"{format} unpacked to {dtype}: bytes that differ from the CPU's"
        session.row(name, "", _SAME, functools.partial(_unpacked_differ, session, format, DTYPES[dtype]))
    for format, dtype in itertools.product(get_args(Format), DTYPES):
        name = f"three rounds in {dtype}, frozen blocks in {format}: placements whose scalars differ"
        session.row(name, "", _SAME, functools.partial(_placements_differ, session, format, DTYPES[dtype]))


def terms(distribution: Distribution, seeds: int) -> Terms:
    """A commit with this many directions."""
    numbers = np.arange(seeds, dtype=np.uint64)
    coefficients = (numbers.astype(np.float32) - np.float32(30.5)) * np.float32(2.0**-20)
    return Terms(np.ones(seeds, dtype=np.uint64), numbers, coefficients, distribution)


def _commit_differs(session: Session, distribution: Distribution) -> list[float]:
    digests = set()
    for device, backend in (("cpu", "numpy"), (session.device.name, session.device.directions)):
        replica, directions = Replica(load_model(ModelConfig()), device), direction_backend(backend, device)
        for entry in replica.manifest.tensors:
            theta = replica.parameters[entry.name]
            directions.apply_commits(theta, entry.block, entry.slot, [terms(distribution, 64)])
        digests.add(replica.digest())
    return [len(digests) - 1.0]


def _unpacked_differ(session: Session, format: PackedFormat, dtype: torch.dtype) -> list[float]:
    shape = (130, 2051)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)).flatten()
    packed, here = torch.empty(slab(format, shape).nbytes, dtype=torch.uint8), torch.empty(matrix.numel(), dtype=dtype)
    pack_into(packed, matrix, shape, format)
    unpack_into(here, packed, shape, format)
    there = torch.empty_like(here, device=session.device.name)
    unpack_into(there, packed.to(session.device.name), shape, format)
    return [float((there.cpu().view(torch.uint8) != here.view(torch.uint8)).sum())]


def _placements_differ(session: Session, format: Format, dtype: torch.dtype) -> list[float]:
    places = [Placement(frozen, master, format) for frozen in ("device", "host") for master in ("device", "host")]
    found = [_scalars(session.device, placement, dtype) for placement in places]
    if not np.isfinite(found[0]).all() or not found[0].any():
        raise ValueError(f"scalars that say nothing: {found[0]}")
    return [float(sum(other.tobytes() != found[0].tobytes() for other in found[1:]))]


def _scalars(device: Device, placement: Placement, dtype: torch.dtype) -> np.ndarray:
    """ρ [3, K, P] of three rounds of one client that holds two of four blocks."""
    directions = direction_backend(device.directions, device.name)
    store, small = HostStore(dtype, apart=True, packs=True), loaded(network(_SMALL))
    model = TaskModel(small, ModelConfig(), PROMPT, WORDS, "all", directions, device.name, 0, store)
    manifest, active = model.replica.manifest, frozenset({1, 3})
    pending = PendingCommits(_RULE, manifest, direction_backend("numba"), directions)
    model.replica.commits = pending
    holds, found = ActiveSets.of_sets([active], manifest.blocks), []
    model.use_placement(placement)
    for number in (1, 2, 3):
        given = {0: [batch(4, 16).to(device.name)]}
        scalars, _ = Estimator(model, directions, _RULE, 0.02, 0.01).round(number, holds, given)[0]
        found.append(scalars)
        pending.add([RoundUpdate(number, 0.02, np.array([0]), scalars[None], holds)])
    return np.stack(found)
