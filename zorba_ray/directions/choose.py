"""Chooses the implementation of the directions for a device, and checks a Triton one against the numpy reference.

Two wrappers are here as well: one copies tensors between devices, the other measures time.
"""

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

# The check below draws this many elements from this offset: neither is a multiple of a word, a group or a program.
_SIZE, _OFFSET = 2500, 37
_SEED = 2**64 - 1
_COMMITS = ((-0.07, 0.03, 0.13), (0.011,))
_DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")


def direction_backend(name: str, device: str = "cpu") -> DirectionBackend:
    """The implementation called `name` ("auto", "numpy", "numba", "triton") for tensors on `device`.

    On the CPU, auto is numba. On a CUDA device, auto is triton if it works there. If not, numba draws on the CPU and
    the tensors are copied.

    Raises:
        ConfigError: `name` is triton and the tensors are on the CPU.
        ClusterError: `name` is triton, and triton is missing, does not compile or differs from the reference.
    """
    if device == "cpu":
        if name == "triton":
            raise ConfigError(
                "directions.backend=triton: triton draws on a CUDA device, and these tensors are on the CPU; "
                "set directions.backend=auto, or federation.gpus to a number of real GPUs"
            )
        return cpu_directions(name)
    if name in ("auto", "triton") and torch.device(device).type == "cuda":
        triton = _triton(device)
        if not isinstance(triton, str):
            return triton
        if name == "triton":
            raise ClusterError(
                f"directions.backend=triton: {triton}; set directions.backend=auto, which draws on the CPU instead"
            )
        logger.info("directions are drawn on the CPU and copied to %s: %s", device, triton)
    return StagedDirections(cpu_directions(name))


def cpu_directions(name: str) -> DirectionBackend:
    """The implementation for tensors on the CPU. "triton" counts as "auto": a driver and a replay keep their replica on
    the CPU, also where the clients compute on GPUs."""
    if name == "numpy":
        from zorba_ray.directions.reference import NumpyDirections

        return NumpyDirections()
    from zorba_ray.directions.numba_cpu import NumbaDirections

    return NumbaDirections()


@functools.cache
def _triton(device: str) -> DirectionBackend | str:
    """The Triton implementation, checked once per process and device against the reference; or why it does not work."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (torch's wheels for CUDA bring it)"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        from zorba_ray.directions.triton_cuda import TritonDirections

        backend = TritonDirections()
        difference = first_difference(backend, device)
    except Exception as error:  # no C compiler, an old driver, an unknown card: the kernels of the CPU still work
        return f"triton fails on {device} ({type(error).__name__}: {error})"
    return backend if difference is None else f"triton differs from the reference on {device} in {difference}"


def first_difference(backend: DirectionBackend, device: str) -> str | None:
    """The first operation that differs in any byte from the numpy reference on tensors of `device`; None: none does.

    Compilers and drivers have faults, so the check runs on the device that will be used. It covers all operations,
    both distributions and both scratch types, on 2,500 elements.
    """
    for distribution in _DISTRIBUTIONS:
        references = _operations(cpu_directions("numpy"), "cpu", distribution)
        results = _operations(backend, device, distribution)
        for (name, expected), (_, result) in zip(references, results, strict=True):
            if not torch.equal(expected, result):
                return name
    return None


def _operations(
    backend: DirectionBackend, device: str, distribution: Distribution
) -> Iterator[tuple[str, torch.Tensor]]:
    """(name of an operation, the bytes of its result): perturbations, then two commits with three terms and one."""
    theta = torch.linspace(-2.0, 2.0, _SIZE).to(device)  # made on the CPU: a device may round it differently
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
    if distribution == "rademacher":
        drawn, numbers = torch.empty(4 * _SIZE).to(device), np.arange(2, dtype=np.uint64)
        backend.draw_signs(drawn, np.full(2, _SEED, dtype=np.uint64), numbers, 1, [(2, _SIZE), (7, _SIZE)])
        yield "draw_signs", drawn.cpu().view(torch.uint8)


class StagedDirections:
    """A CPU implementation for tensors on another device. Each tensor is copied to the CPU and back; same bits."""

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

    def draw_signs(
        self,
        out: torch.Tensor,
        seeds: np.ndarray,
        directions: np.ndarray,
        block: int,
        parts: Sequence[tuple[int, int]],
    ) -> None:
        moved = torch.empty(out.shape)
        self._inner.draw_signs(moved, seeds, directions, block, parts)
        out.copy_(moved)


def timed(inner: DirectionBackend, watch: Watch) -> DirectionBackend:
    """`inner` with its time measured if the watch runs, else `inner` itself."""
    return TimedDirections(inner, watch) if watch.running else inner


class TimedDirections:
    """Another implementation whose time is added to the parts `perturb` and `commit` of a profile.

    The first call of each loads or compiles a kernel: its time is added to the part `kernels`. Used only in profiles.
    """

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

    def draw_signs(
        self,
        out: torch.Tensor,
        seeds: np.ndarray,
        directions: np.ndarray,
        block: int,
        parts: Sequence[tuple[int, int]],
    ) -> None:
        with self._part("perturb", out):
            self._inner.draw_signs(out, seeds, directions, block, parts)
            _await_device(out)

    def _part(self, name: str, theta: torch.Tensor) -> AbstractContextManager[None]:
        _await_device(theta)
        first = name not in self._called
        self._called.add(name)
        return self._watch.part("kernels" if first else name)


def _await_device(tensor: torch.Tensor) -> None:
    """Waits for the GPU, which works asynchronously, so that its time is added to the part that started the work."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
