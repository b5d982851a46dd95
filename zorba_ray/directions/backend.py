"""The two operations on directions, and which implementation performs them.

Both read θ in fp32 and address elements by their row-major index in the whole logical tensor (`offset` for a shard).

- `perturb_into`: scratch = RN(fp32(θ̄) + a), θ̄ = RN_dtype(θ), a = ±μ z rounded once; θ is never written.
- `apply_commits`: for one commit after another θ = RN(θ + acc), acc = Σ_k c_k z_k in fp32 in ledger order, each product
  rounded before it is added. Several commits in one call are one pass over memory and the same bytes.
"""

import functools
import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from zorba_ray.directions.streams import Distribution, TensorStream, direction_counter, tensor_counter
from zorba_ray.errors import ClusterError, ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """A commit on the tensors of one block: Σ_k coefficients[k] · z(seeds[k], directions[k]), in ledger order."""

    seeds: np.ndarray
    """uint64 [K], seed64 of (round, stream, step)."""
    directions: np.ndarray
    """uint64 [K], number of the direction within its step."""
    coefficients: np.ndarray
    """float32 [K]."""
    distribution: Distribution

    def __len__(self) -> int:
        return len(self.coefficients)

    def moving(self) -> "Terms":
        """Without the terms whose coefficient is zero."""
        kept = self.coefficients != 0
        return Terms(self.seeds[kept], self.directions[kept], self.coefficients[kept], self.distribution)


@dataclass(frozen=True)
class JoinedTerms:
    """The terms of several commits on one tensor, end to end."""

    k0: np.ndarray
    """uint64 [K]: keys."""
    c1: int
    c2: np.ndarray
    """uint64 [K]: counters of the directions."""
    coefficients: np.ndarray
    """float32 [K]."""
    ends: np.ndarray
    """int64 [commits]: the term after the last one of each commit."""
    distribution: Distribution


def join_terms(commits: Sequence[Terms], block: int, slot: int) -> JoinedTerms | None:
    """What a kernel is given for `apply_commits`; commits without terms are left out, None: all are."""
    commits = [terms for terms in commits if len(terms)]
    if not commits:
        return None
    distribution = commits[0].distribution
    assert all(terms.distribution == distribution for terms in commits)
    return JoinedTerms(
        np.concatenate([terms.seeds for terms in commits]),
        tensor_counter(block, slot),
        np.concatenate([terms.directions for terms in commits]) + np.uint64(direction_counter(0, distribution)),
        np.concatenate([terms.coefficients for terms in commits]),
        np.cumsum([len(terms) for terms in commits], dtype=np.int64),
        distribution,
    )


class DirectionBackend(Protocol):
    """Interface of all implementations; they agree bit for bit."""

    name: str

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        """scratch [n] (fp32 or bf16) ← θ [n] (fp32) + scale · z; `scale` = ±μ is rounded to fp32."""
        ...

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        """θ [n] (fp32, in place) ← RN(θ + Σ coefficient · z) for each commit in turn; one without terms moves no byte.

        `block`, `slot`: the tensor's place in the manifest. All commits draw from one distribution.
        """
        ...


class StagedDirections:
    """A CPU implementation for tensors on another device: same bits, one copy there and back per tensor."""

    def __init__(self, inner: DirectionBackend) -> None:
        self._inner = inner
        self.name = f"{inner.name} (staged)"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        moved = torch.empty(scratch.shape, dtype=scratch.dtype)
        self._inner.perturb_into(moved, theta.cpu(), stream, scale, offset)
        scratch.copy_(moved)

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        moved = theta.cpu()
        self._inner.apply_commits(moved, block, slot, commits, offset)
        theta.copy_(moved)


def direction_backend(name: str, device: str = "cpu") -> DirectionBackend:
    """The implementation called `name` ("auto", "numpy", "numba", "triton") for tensors on `device`.

    auto is numba; on a CUDA device it is triton where that works, and numba on the CPU with copies where it does not.

    Raises:
        ConfigError: triton for tensors on the CPU.
        ClusterError: triton asked for where it is missing, does not compile or differs from the reference.
    """
    if device == "cpu":
        if name == "triton":
            raise ConfigError(
                "directions.backend=triton: triton draws on a CUDA device, and these tensors are on the CPU; "
                "set directions.backend=auto, or federation.gpus to a number of real GPUs"
            )
        return _on_cpu(name)
    if name in ("auto", "triton") and torch.device(device).type == "cuda":
        found = _triton(device)
        if not isinstance(found, str):
            return found
        if name == "triton":
            raise ClusterError(
                f"directions.backend=triton: {found}; set directions.backend=auto, which draws on the CPU instead"
            )
        logger.info("directions are drawn on the CPU and copied to %s: %s", device, found)
    return StagedDirections(_on_cpu(name))


def cpu_directions(name: str) -> DirectionBackend:
    """For a replica that stays on the CPU wherever clients compute (a driver's, a replay's): triton is auto here."""
    return _on_cpu("auto" if name == "triton" else name)


def _on_cpu(name: str) -> DirectionBackend:
    if name == "numpy":
        from zorba_ray.directions.reference import NumpyDirections

        return NumpyDirections()
    from zorba_ray.directions.numba_cpu import NumbaDirections

    return NumbaDirections()


@functools.cache
def _triton(device: str) -> DirectionBackend | str:
    """Triton's directions, checked once per process and device against the reference; or why there are none."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (torch's wheels for CUDA bring it)"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        from zorba_ray.directions.agreement import first_difference
        from zorba_ray.directions.triton_cuda import TritonDirections

        backend = TritonDirections()
        difference = first_difference(backend, device)
    except Exception as error:  # no C compiler, an old driver, a card it cannot compile for: the CPU's kernels remain
        return f"triton fails on {device} ({type(error).__name__}: {error})"
    return backend if difference is None else f"triton differs from the reference on {device} in {difference}"
