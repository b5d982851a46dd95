"""Machine code of Triton's kernels, compiled ahead of time for four kinds of GPU: what no interpreter can show."""

import importlib.util
import os
from typing import Any

import pytest

from zorba_ray.directions import Distribution

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None, reason="triton is not installed: Linux alone has it"
    ),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"),
]
PER_THREAD = 8
"""Elements of one thread."""


@pytest.mark.parametrize("shape", ["even", pytest.param("odd", marks=pytest.mark.slow)])
@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
@pytest.mark.parametrize("target", [pytest.param(75, marks=pytest.mark.slow), 80, 90, 100])
def test_directions_spill_nothing_and_round_every_operation(
    target: int, distribution: Distribution, shape: str
) -> None:
    """And where the tensor's size allows it, θ and scratch go in vectors, nothing through shared memory, and few words
    are loaded.

    Besides θ a thread loads per seed a word for each four of its elements, and the coefficient (rademacher) or a table
    entry for each element (gaussian); for a commit, where it ends; if one stays open, there are two loops over seeds.
    """
    from tools.triton_code import LAUNCHES, compiled

    codes = compiled(target, LAUNCHES[f"directions, {distribution}, {shape}"])
    gaussian = ("GAUSSIAN",) if distribution == "gaussian" else ()
    assert {(code.kernel, *code.flags) for code in codes} == {
        ("write_words",),
        *(("perturb", *gaussian, *narrow) for narrow in ((), ("NARROW",))),
        *(("commit", *gaussian, *more) for more in ((), ("OPEN",), ("CARRIED",), ("CARRIED", "OPEN"))),
    }
    for code in codes:
        assert code.local == 0, code
        assert code.rounds, code
        if shape == "even" and code.kernel != "write_words":
            loops, words = 1 + ("OPEN" in code.flags), PER_THREAD // 4
            assert set(code.stores) == {64 if gaussian and "NARROW" in code.flags else 128}, code
            assert code.loads[128] == 2 * (1 + ("CARRIED" in code.flags)), code
            assert code.loads[64] == (loops * words if gaussian else 0), code
            per_seed = PER_THREAD if gaussian else 1 + words
            assert code.loads[32] <= loops * per_seed + (code.kernel == "commit"), code
            assert code.barriers == 0, code


@pytest.mark.parametrize("shape", ["even", pytest.param("odd", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("target", [pytest.param(75, marks=pytest.mark.slow), 80, 90, 100])
def test_unpacking_nf4_spills_nothing_and_rounds_every_product(target: int, dtype: str, shape: str) -> None:
    """A thread reads the codes of 16 values at once, and looks up each of them."""
    from tools.triton_code import LAUNCHES, compiled

    [code] = compiled(target, LAUNCHES[f"nf4, {dtype}, {shape}"])
    assert (code.kernel, code.flags) == ("nf4_values", ("NARROW",) if dtype == "bf16" else ())
    assert code.local == 0, code
    assert code.rounds, code
    if shape == "even":
        assert code.loads == {64: 1, 32: 17, 8: 1}, code  # codes; levels and the scale of a group; that of a block
        assert set(code.stores) == {128}, code


def test_a_spill_and_a_fused_operation_are_seen() -> None:
    """What is looked for is found in the code of a kernel that is given too few registers and may fuse."""
    import torch

    from tools.triton_code import compiled
    from zorba_ray.directions.triton_kernels import commit

    theta, words = torch.zeros(1024), torch.zeros(32, dtype=torch.int32)
    arguments = (theta, theta, words, theta, words, 1, 0, 1, 32, 0, 1024, False, 1, False, False, 1024)
    kernel: Any = commit
    [code] = compiled(90, lambda: kernel[(1,)](*arguments, maxnreg=16, enable_fp_fusion=True))
    assert code.local > 0
    assert not code.rounds
