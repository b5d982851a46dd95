"""What every direction backend promises, row by row; a new backend gets its tests by adding a row to BACKENDS.

The reference values are computed here from `philox4x64` alone (the definition in plain integers), so that the numpy
backend is judged as the others are. Two rows are Triton's: on a CUDA device (`-m gpu`), and in Triton's interpreter on
the CPU, with TRITON_INTERPRET=1 in the environment (tests/unit/test_triton_directions.py sets it in a subprocess).
"""

import hashlib
import importlib.util
import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.philox import philox4x64
from zorba_ray.directions import (
    DirectionBackend,
    Distribution,
    TensorStream,
    Terms,
    direction_backend,
    tensor_stream,
    timed,
)
from zorba_ray.directions.choose import StagedDirections
from zorba_ray.directions.streams import KEY1, gaussian_table
from zorba_ray.stopwatch import Stopwatch
from zorba_ray.zo import on_grid

torch.set_num_threads(1)

HAS_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class OnDevice:
    """A backend of another device, seen from the CPU: all it was given is copied back, θ of a perturbation, too."""

    def __init__(self, inner: DirectionBackend, device: str) -> None:
        self._inner, self._device, self.name = inner, device, inner.name

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        target, source = scratch.to(self._device), theta.to(self._device)
        self._inner.perturb_into(target, source, stream, scale, offset)
        scratch.copy_(target)
        theta.copy_(source)

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        moved = theta.to(self._device)
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
        moved = out.to(self._device)
        self._inner.draw_signs(moved, seeds, directions, block, parts)
        out.copy_(moved)


def interpreted() -> DirectionBackend:
    """Triton's kernels run by its interpreter, on CPU tensors."""
    from zorba_ray.directions.triton_cuda import TritonDirections

    return TritonDirections()


BACKENDS: dict[str, Callable[[], DirectionBackend]] = {
    "numpy": lambda: direction_backend("numpy"),
    "numba": lambda: direction_backend("numba"),
    "staged": lambda: StagedDirections(direction_backend("numba")),  # any device: works on CPU tensors, too
    "timed": lambda: timed(direction_backend("numba"), Stopwatch()),
    "triton": lambda: OnDevice(direction_backend("triton", "cuda"), "cuda"),
}
if INTERPRETED:
    BACKENDS["interpreted"] = interpreted
MARKS: dict[str, Sequence[pytest.MarkDecorator]] = {
    "triton": [
        pytest.mark.gpu,
        pytest.mark.skipif(
            INTERPRETED or not (HAS_TRITON and torch.cuda.is_available()), reason="needs triton and a CUDA device"
        ),
    ],
}
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "directions.json").read_text("utf-8"))
DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")
# Around the group (256 signs, 16 gaussians), the numba tile (2,048 and 128) and the numpy tile (65,536).
SIZES = (1, 15, 16, 17, 31, 33, 127, 129, 255, 256, 257, 2047, 2048, 2049, 4097, 8200, 65537)
OFFSETS = (0, 1, 15, 16, 17, 31, 255, 256, 257, 2047, 4095, 65535)


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in BACKENDS])
def backend(request: pytest.FixtureRequest) -> DirectionBackend:
    return BACKENDS[request.param]()


def stream_of(distribution: Distribution, direction: int = 0, slot: int = 2) -> TensorStream:
    return tensor_stream(0x0123456789ABCDEF, 3, slot, direction, distribution)


def terms_of(distribution: Distribution, coefficients: Sequence[float], numbers: Sequence[int] | None = None) -> Terms:
    """Terms on directions 0, 1, … of `stream_of`'s seed, or on those in `numbers`."""
    numbers = range(len(coefficients)) if numbers is None else numbers
    seeds = np.full(len(coefficients), 0x0123456789ABCDEF, dtype=np.uint64)
    return Terms(seeds, np.array(numbers, dtype=np.uint64), np.array(coefficients, dtype=np.float32), distribution)


def plain(stream: TensorStream, offset: int, count: int) -> np.ndarray:
    """z element by element as rng.md says it, float32 [count]; slow."""
    per_group = 256 if stream.distribution == "rademacher" else 16
    groups = {q: philox4x64((q, stream.c1, stream.c2, 0), (stream.k0, KEY1))
              for q in range(offset // per_group, (offset + count - 1) // per_group + 1)}  # fmt: skip
    values = np.empty(count, dtype=np.float32)
    for place in range(count):
        group, element = divmod(offset + place, per_group)
        if stream.distribution == "rademacher":
            values[place] = 1.0 if groups[group][element >> 6] >> (element & 63) & 1 else -1.0
        else:
            lane = groups[group][element >> 2] >> (16 * (element & 3)) & 0xFFFF
            values[place] = gaussian_table()[lane >> 4]
    return values


def weights(count: int, seed: int = 0) -> torch.Tensor:
    """Values from 1e-6 to 1e3, with both zeros among them."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(count) * 10.0 ** rng.uniform(-6, 3, count)).astype(np.float32)
    values[:: max(1, count // 3)] = -0.0
    values[1 :: max(1, count // 2)] = 0.0
    return torch.from_numpy(values)


def bits(tensor: torch.Tensor) -> np.ndarray:
    """The bytes of a tensor, as integers: −0.0 and 0.0 differ."""
    return tensor.view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.int32).numpy()


@pytest.mark.parametrize("case", GOLDEN["tensors"], ids=lambda case: f"{case['distribution']}-{case['block']}")
def test_known_answers(backend: DirectionBackend, case: dict[str, Any]) -> None:
    """z is read off a perturbation of zeros by 1; `sha256` is of the packed signs."""
    stream = tensor_stream(int(case["seed"], 16), case["block"], case["slot"], case["direction"], case["distribution"])
    count = case.get("elements", 512)
    scratch = torch.empty(count)
    backend.perturb_into(scratch, torch.zeros(count), stream, 1.0)
    z = scratch.numpy()
    if case["distribution"] == "gaussian":
        assert z[: len(case["values"])].tolist() == case["values"]
        return
    assert "".join("+" if v > 0 else "-" for v in z[: len(case["signs"])]) == case["signs"]
    assert set(np.unique(z)) == {-1.0, 1.0}
    if "sum_of_first_512" in case:
        assert int(z[:512].sum()) == case["sum_of_first_512"]
    if "sha256" in case:
        assert int((z > 0).sum()) == case["ones"]
        packed = np.packbits(z > 0, bitorder="little").tobytes()
        assert hashlib.sha256(packed).hexdigest() == case["sha256"]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("offset", [0, 1, 250, 4090])
def test_perturb_is_theta_plus_the_rounded_step(
    backend: DirectionBackend, distribution: Distribution, offset: int
) -> None:
    """fp32(θ) + (±μ), one rounding; the two signs use exact negatives."""
    stream, theta, mu = stream_of(distribution), weights(700), np.float32(1e-3)
    step = plain(stream, offset, 700) * mu
    for sign in (1.0, -1.0):
        scratch = torch.full((700,), float("nan"))
        backend.perturb_into(scratch, theta, stream, sign * 1e-3, offset)
        wanted = (theta.numpy() + np.float32(sign) * step).view(np.int32)
        assert np.array_equal(bits(scratch), wanted)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("offset", [0, 1, 250, 4090])
def test_perturb_into_bf16_rounds_as_torch_does(
    backend: DirectionBackend, distribution: Distribution, offset: int
) -> None:
    """RN_bf16(fp32(RN_bf16(θ)) + a): a cast copy and the fp32 master give the same scratch."""
    stream, theta = stream_of(distribution), weights(700)
    step = torch.from_numpy(plain(stream, offset, 700) * np.float32(1e-3))
    wanted = (theta.bfloat16().float() + step).bfloat16()
    for source in (theta, theta.bfloat16().float()):
        scratch = torch.empty(700, dtype=torch.bfloat16)
        backend.perturb_into(scratch, source, stream, 1e-3, offset)
        assert np.array_equal(bits(scratch), bits(wanted))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_theta_is_read_only_for_a_perturbation(
    backend: DirectionBackend, distribution: Distribution, dtype: torch.dtype
) -> None:
    theta = weights(5000)
    before = bits(theta).copy()
    for scale in (1e-3, -1e-3):
        backend.perturb_into(torch.empty(5000, dtype=dtype), theta, stream_of(distribution), scale, 7)
    assert np.array_equal(bits(theta), before)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES)
def test_perturb_equals_the_reference_on_odd_sizes_and_offsets(
    backend: DirectionBackend, distribution: Distribution, dtype: torch.dtype, size: int
) -> None:
    reference, theta, stream = direction_backend("numpy"), weights(size, seed=size), stream_of(distribution)
    for offset in OFFSETS if size < 8000 else (0, 17, 4095):
        wanted, got = torch.empty(size, dtype=dtype), torch.empty(size, dtype=dtype)
        reference.perturb_into(wanted, theta, stream, -0.37, offset)
        backend.perturb_into(got, theta, stream, -0.37, offset)
        assert np.array_equal(bits(got), bits(wanted)), offset


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shift", [0, 1, 16, 32])
def test_a_large_perturbed_copy_equals_the_reference_wherever_it_begins_in_memory(
    backend: DirectionBackend, dtype: torch.dtype, shift: int
) -> None:
    """Beyond 4 MB numba stores past the caches, where the place in memory allows it; interpreted, it takes too long."""
    size = 3000 if INTERPRETED else 2**20 + 777
    reference, theta, stream = direction_backend("numpy"), weights(size), stream_of("rademacher")
    wanted = torch.empty(size, dtype=dtype)
    for offset in (0, 8, 224, 2049):
        memory = torch.full((size + 2 * 64,), 7.0, dtype=dtype)
        got = memory[shift : shift + size]
        reference.perturb_into(wanted, theta, stream, 1e-3, offset)
        backend.perturb_into(got, theta, stream, 1e-3, offset)
        assert np.array_equal(bits(got), bits(wanted)), offset
        outside = torch.cat([memory[:shift], memory[shift + size :]])
        assert (outside == 7).all(), "wrote beyond its copy"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("entries", range(1, 10))
def test_commit_equals_the_sum_in_ledger_order(
    backend: DirectionBackend, distribution: Distribution, entries: int
) -> None:
    """acc = +0; acc += fl32(c_k z_k) in order; θ = RN(θ + acc), once. Coefficients off any grid on purpose."""
    coefficients = np.random.default_rng(entries).standard_normal(entries).astype(np.float32) * np.float32(1e-2)
    terms = terms_of(distribution, coefficients.tolist())
    for size, offset in ((1, 0), (333, 5), (4500, 255)):
        theta = weights(size)
        total = np.zeros(size, dtype=np.float32)
        for k, c in enumerate(coefficients):
            total += plain(stream_of(distribution, k), offset, size) * c
        wanted = (theta.numpy() + total).view(np.int32)
        backend.apply_commits(theta, 3, 2, [terms], offset)
        assert np.array_equal(bits(theta), wanted), (size, offset)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_commit_equals_the_reference_on_odd_sizes_and_offsets(
    backend: DirectionBackend, distribution: Distribution, size: int
) -> None:
    terms = terms_of(distribution, [1e-3 * (k - 4.3) for k in range(9)])
    for offset in (0, 1, 17, 255, 4095) if size < 8000 else (0, 17):
        wanted, got = weights(size), weights(size)
        direction_backend("numpy").apply_commits(wanted, 3, 2, [terms], offset)
        backend.apply_commits(got, 3, 2, [terms], offset)
        assert np.array_equal(bits(got), bits(wanted)), offset


def test_no_entry_leaves_every_byte_alone(backend: DirectionBackend) -> None:
    """−0.0 + 0.0 would be +0.0."""
    theta = torch.tensor([-0.0, 0.0, 1.5, float("nan")])
    before = bits(theta).copy()
    backend.apply_commits(theta, 3, 2, [])
    backend.apply_commits(theta, 3, 2, [terms_of("rademacher", []), terms_of("rademacher", [])])
    assert np.array_equal(bits(theta), before)
    assert bits(theta)[0] != bits(theta)[1]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("cuts", [(1,), (255, 256), (16, 4096, 4097), (3000,)])
def test_a_shard_equals_the_slice_of_the_whole(
    backend: DirectionBackend, distribution: Distribution, cuts: tuple[int, ...]
) -> None:
    """Chunk invariance, for both operations and both scratch types."""
    size, terms, stream = 5001, terms_of(distribution, [0.013, 0.026, 0.039]), stream_of(distribution, 1)
    edges = [0, *cuts, size]
    for dtype in (torch.float32, torch.bfloat16):
        whole, pieces = torch.empty(size, dtype=dtype), torch.empty(size, dtype=dtype)
        backend.perturb_into(whole, weights(size), stream, 1e-3)
        for low, high in itertools.pairwise(edges):
            backend.perturb_into(pieces[low:high], weights(size)[low:high], stream, 1e-3, low)
        assert np.array_equal(bits(pieces), bits(whole))
    whole, pieces = weights(size), weights(size)
    backend.apply_commits(whole, 3, 2, [terms])
    for low, high in itertools.pairwise(edges):
        backend.apply_commits(pieces[low:high], 3, 2, [terms], low)
    assert np.array_equal(bits(pieces), bits(whole))


@pytest.mark.parametrize("seed", range(4))
def test_rademacher_commit_does_not_depend_on_order_on_the_grid(backend: DirectionBackend, seed: int) -> None:
    """And off the grid it does (or the grid would be for nothing), as for gaussian directions."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal(40) * 10.0 ** rng.uniform(-4, 0, 40)

    def results(distribution: Distribution, coefficients: np.ndarray) -> set[bytes]:
        found = set()
        for order in (np.arange(40), np.arange(40)[::-1], rng.permutation(40)):
            theta = weights(3000)
            backend.apply_commits(theta, 3, 2, [terms_of(distribution, coefficients[order].tolist(), order.tolist())])
            found.add(theta.numpy().tobytes())
        return found

    assert len(results("rademacher", on_grid(raw))) == 1
    assert len(results("rademacher", raw.astype(np.float32))) > 1
    assert len(results("gaussian", on_grid(raw))) > 1


def test_one_commit_is_not_several_passes(backend: DirectionBackend) -> None:
    """θ is rounded once per commit: near 1 a step of 4e-8 is lost alone, and not lost as one of nine."""
    once, stepwise = torch.ones(4096), torch.ones(4096)
    backend.apply_commits(once, 3, 2, [terms_of("rademacher", [2.0**-25] * 9, [0] * 9)])
    backend.apply_commits(stepwise, 3, 2, [terms_of("rademacher", [2.0**-25])] * 9)
    assert float((once - stepwise).abs().max()) > 0


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("counts", [(3, 0, 1), (1,) * 7, (40, 33), (0, 65, 2)])
def test_commits_in_one_call_are_one_after_another(
    backend: DirectionBackend, distribution: Distribution, counts: tuple[int, ...]
) -> None:
    """A replay of many rounds rounds θ once per round, as those who were there did."""
    rng = np.random.default_rng(sum(counts))
    commits = [
        terms_of(distribution, rng.standard_normal(count).tolist(), rng.integers(0, 99, count).tolist())
        for count in counts
    ]
    for size, offset in ((2048, 0), (5001, 77)):
        together, apart = weights(size), weights(size)
        backend.apply_commits(together, 3, 2, commits, offset)
        for terms in commits:
            direction_backend("numpy").apply_commits(apart, 3, 2, [terms], offset)
        assert np.array_equal(bits(together), bits(apart))


def test_an_empty_tensor_is_no_trouble(backend: DirectionBackend) -> None:
    theta = torch.empty(0)
    backend.perturb_into(torch.empty(0), theta, stream_of("rademacher"), 1e-3)
    backend.apply_commits(theta, 3, 2, [terms_of("gaussian", [1.0])])


@pytest.mark.parametrize("size", [1, 31, 33, 257, 2049, 4097])
def test_signs_side_by_side_are_those_of_each_direction(backend: DirectionBackend, size: int) -> None:
    terms = terms_of("rademacher", [0.0] * 3, [5, 0, 2**20])
    out = torch.full((3 * size + 3 * 9,), 7.0)
    backend.draw_signs(out, terms.seeds, terms.directions, 3, [(2, size), (4, 9)])
    for slot, part in ((2, out[: 3 * size].view(3, size)), (4, out[3 * size :].view(3, 9))):
        for row, number in zip(part, (5, 0, 2**20), strict=True):
            assert np.array_equal(row.numpy(), plain(stream_of("rademacher", number, slot), 0, len(row)))
