"""Which implementation of the directions computes, on which device; what stands around one; and whether it is right."""

import functools
import importlib.util
import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from zorba_ray.directions.streams import Distribution, TensorStream, tensor_stream
from zorba_ray.directions.terms import DirectionBackend, Terms
from zorba_ray.errors import ClusterError, ConfigError
from zorba_ray.stopwatch import Watch

logger = logging.getLogger(__name__)

_SIZE, _OFFSET = 2500, 37  # no multiples of a word, a group or a program
_SEED = 2**64 - 1
_COMMITS = ((-0.07, 0.03, 0.13), (0.011,))
_DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")


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
        return cpu_directions(name)
    if name in ("auto", "triton") and torch.device(device).type == "cuda":
        found = _triton(device)
        if not isinstance(found, str):
            return found
        if name == "triton":
            raise ClusterError(
                f"directions.backend=triton: {found}; set directions.backend=auto, which draws on the CPU instead"
            )
        logger.info("directions are drawn on the CPU and copied to %s: %s", device, found)
    return StagedDirections(cpu_directions(name))


def cpu_directions(name: str) -> DirectionBackend:
    """For a replica that stays on the CPU wherever clients compute (a driver's, a replay's): triton is auto here."""
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
        from zorba_ray.directions.triton_cuda import TritonDirections

        backend = TritonDirections()
        difference = first_difference(backend, device)
    except Exception as error:  # no C compiler, an old driver, a card it cannot compile for: the CPU's kernels remain
        return f"triton fails on {device} ({type(error).__name__}: {error})"
    return backend if difference is None else f"triton differs from the reference on {device} in {difference}"


def first_difference(backend: DirectionBackend, device: str) -> str | None:
    """Which operation on tensors of `device` differs in any byte from the numpy reference; None: they agree.

    Compilers and drivers have faults, so a backend is asked where it is about to be used: both operations,
    distributions and scratch types, on 2,500 elements.
    """
    for distribution in _DISTRIBUTIONS:
        wanted = _operations(cpu_directions("numpy"), "cpu", distribution)
        got = _operations(backend, device, distribution)
        for (name, expected), (_, result) in zip(wanted, got, strict=True):
            if not torch.equal(expected, result):
                return name
    return None


def _operations(
    backend: DirectionBackend, device: str, distribution: Distribution
) -> Iterator[tuple[str, torch.Tensor]]:
    """(operation, the bytes that it gives): perturbations, then two commits of three and one terms."""
    theta = torch.linspace(-2.0, 2.0, _SIZE).to(device)  # made on the CPU: a device may round its own otherwise
    for dtype, scale in itertools.product((torch.float32, torch.bfloat16), (1e-3, -1e-3)):
        scratch = torch.empty(_SIZE, dtype=dtype, device=device)
        backend.perturb_into(scratch, theta, tensor_stream(_SEED, 1, 2, 3, distribution), scale, _OFFSET)
        yield f"perturb_into ({distribution}, {dtype})", scratch.cpu().view(torch.uint8)
    commits = []
    for coefficients in _COMMITS:
        numbers = np.arange(len(coefficients), dtype=np.uint64)
        seeds = np.full_like(numbers, _SEED)
        commits.append(Terms(seeds, numbers, np.array(coefficients, dtype=np.float32), distribution))
    backend.apply_commits(theta, 1, 2, commits, _OFFSET)
    yield f"apply_commits ({distribution})", theta.cpu().view(torch.uint8)


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


def timed(inner: DirectionBackend, watch: Watch) -> DirectionBackend:
    """`inner`, timed if the watch runs, else itself."""
    return TimedDirections(inner, watch) if watch.running else inner


class TimedDirections:
    """Another implementation, with its time charged to the parts `perturb` and `commit`; of each the first call, which
    loads or compiles a kernel, to `kernels`. Used only where a run is profiled."""

    def __init__(self, inner: DirectionBackend, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch
        self._called: set[str] = set()
        self.name = inner.name

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        with self._part("perturb", theta):
            self._inner.perturb_into(scratch, theta, stream, scale, offset)
            _await_device(theta)

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        with self._part("commit", theta):
            self._inner.apply_commits(theta, block, slot, commits, offset)
            _await_device(theta)

    def _part(self, name: str, theta: torch.Tensor) -> AbstractContextManager[None]:
        _await_device(theta)
        first = name not in self._called
        self._called.add(name)
        return self._watch.part("kernels" if first else name)


def _await_device(tensor: torch.Tensor) -> None:
    """A GPU works behind the program's back: what it still has to do is waited for, and belongs to who asked for it."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
