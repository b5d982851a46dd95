"""Triton's kernels without a GPU, interpreted on the CPU; staging in a bounded workspace; how a backend is chosen.

Whole-backend cases are in tests/contract/test_direction_backends.py, compiled code in test_triton_code.py.
"""

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zorba_ray.config import config_from_tree
from zorba_ray.directions import Distribution, Terms, choose, cpu_directions, direction_backend, tensor_stream
from zorba_ray.directions.choose import first_difference
from zorba_ray.directions.numba_cpu import NumbaDirections
from zorba_ray.errors import ClusterError, ConfigError
from zorba_ray.federation.accelerator import choose_accelerator

ROOT = Path(__file__).parents[2]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed: Linux alone has it",
)
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_in_the_interpreter, with TRITON_INTERPRET=1")


def terms_of(distribution: Distribution, count: int) -> Terms:
    numbers = np.arange(count, dtype=np.uint64)
    coefficients = (numbers.astype(np.float32) - np.float32(4.3)) * np.float32(1e-3)
    return Terms(np.full(count, 11, dtype=np.uint64), numbers, coefficients, distribution)


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_every_operation_gives_the_bits_of_the_reference() -> None:
    """In a process that had the variable before triton was imported."""
    program = (
        "from zorba_ray.directions.choose import first_difference\n"
        "from zorba_ray.directions.triton_cuda import TritonDirections\n"
        "print(first_difference(TritonDirections(), 'cpu'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert ran.stdout == "None\n", ran.stderr[-1000:]


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
@pytest.mark.timeout(900)
def test_in_the_interpreter() -> None:
    """The contract's cases and this file's, in a process that had the variable before triton was imported.

    Without the contract's longest, which say nothing more about kernels; by hand: TRITON_INTERPRET=1, -k interpreted.
    """
    chosen = "(interpreted and not order and not 65537) or interpreter or staging"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen,
         "tests/contract/test_direction_backends.py", "tests/unit/test_triton_directions.py"],
        cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=880,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]


@needs_triton
@interpreted
@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
@pytest.mark.parametrize("offset", [0, 37])
@pytest.mark.parametrize("case", ["at once", "by seeds", "by tiles", "by both"])
@pytest.mark.parametrize("counts", [(9,), (1, 3, 4, 0, 1), (5, 4)], ids=str)
def test_staging_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, distribution: Distribution, offset: int, case: str, counts: tuple[int, ...]
) -> None:
    """2,600 elements and 9 seeds in tiles of 1,024, of 4 seeds at a time, and of one; sums go on in ledger order.

    A commit may end inside a staging, with it, or begin before it.
    """
    from zorba_ray.directions import triton_cuda

    nine = 9 * 4 * (5 if distribution == "rademacher" else 65)  # words of 9 seeds for 1,024 elements and a lead
    words, tile, seeds, launches = {
        "at once": (1 << 22, 1 << 20, 512, 1),
        "by seeds": (1 << 22, 1 << 20, 4, 3),
        "by tiles": (nine, 1024, 512, 3),
        "by both": (1, 1024, 512, 27),
    }[case]
    for name, value in (("_WORDS", words), ("_TILE", tile), ("_SEEDS", seeds)):
        monkeypatch.setattr(triton_cuda, name, value)
    launch, launched = triton_cuda._launch, []
    monkeypatch.setattr(
        triton_cuda, "_launch", lambda kernel, *a, **k: (launched.append(kernel), launch(kernel, *a, **k))
    )
    backend, reference = triton_cuda.TritonDirections(), direction_backend("numpy")
    theta, commits = torch.linspace(-1, 1, 2600), [terms_of(distribution, count) for count in counts]
    stream = tensor_stream(11, 3, 2, 0, distribution)
    wanted, got = theta.clone(), theta.clone()
    reference.apply_commits(wanted, 3, 2, commits, offset)
    backend.apply_commits(got, 3, 2, commits, offset)
    assert launched.count(triton_cuda.commit) == launches
    assert torch.equal(wanted.view(torch.int32), got.view(torch.int32))
    reference.perturb_into(wanted, theta, stream, -0.3, offset)
    backend.perturb_into(got, theta, stream, -0.3, offset)
    assert torch.equal(wanted.view(torch.int32), got.view(torch.int32))


def test_the_check_against_the_reference_finds_a_difference() -> None:
    """None for the real thing; the name of the operation for one whose commit adds an ulp."""

    class Off(NumbaDirections):
        def apply_commits(
            self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
        ) -> None:
            super().apply_commits(theta, block, slot, commits, offset)
            theta[-1:].view(torch.int32).add_(1)

    assert first_difference(NumbaDirections(), "cpu") is None
    assert first_difference(Off(), "cpu") == "apply_commits (rademacher)"


@needs_triton
@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_workspace_is_bounded(distribution: Distribution) -> None:
    """32 MiB of words, 8 MiB of tables, a carry of 4 MiB, for any number of seeds and any size."""
    from zorba_ray.directions.triton_cuda import _Work

    group = 256 if distribution == "rademacher" else 16
    for seeds in (1, 8, 15, 16, 64, 255, 256, 512, 600, 3000):
        keys = np.zeros(seeds, dtype=np.uint64)
        work = _Work(torch.device("cpu"), keys, 0, keys, keys.astype(np.float32), distribution)
        for offset, size in itertools.product((0, 37), (1, 5000, 2**20, 2**29)):
            for start, count in itertools.islice(work.tiles(size), 3):
                chunk = work.seeds_at_once(offset + start, count)
                assert chunk * 32 * -(-((offset + start) % group + count) // group) <= 32 << 20
                assert chunk * work.width * 4 <= 8 << 20
                assert chunk >= seeds or count * 4 <= 4 << 20


def test_triton_is_refused_for_tensors_on_the_cpu() -> None:
    with pytest.raises(ConfigError, match=r"directions\.backend=triton: .*on the CPU; set directions\.backend=auto"):
        direction_backend("triton")
    assert cpu_directions("triton").name == cpu_directions("auto").name == "numba"
    assert cpu_directions("numpy").name == "numpy"


@pytest.mark.parametrize("found", ["triton is not installed (why)", "triton fails on cuda (why)"])
def test_where_triton_does_not_work_auto_is_staged_and_triton_an_error(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(choose, "_triton", lambda device: found)
    assert direction_backend("auto", "cuda").name == "numba (staged)"
    with pytest.raises(ClusterError, match=r"directions\.backend=triton: .*\(why\); set directions\.backend=auto"):
        direction_backend("triton", "cuda")


def test_where_triton_works_auto_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    works = direction_backend("numpy")  # stands for it
    monkeypatch.setattr(choose, "_triton", lambda device: works)
    assert direction_backend("auto", "cuda:1") is direction_backend("triton", "cuda") is works
    assert direction_backend("numba", "cuda").name == "numba (staged)"
    assert direction_backend("numpy", "cuda").name == "numpy (staged)"
    assert direction_backend("auto").name == "numba"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed; no device; and a kernel that fails, whatever it raises, is a reason and not a crash."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "not installed" in str(choose._triton.__wrapped__("cuda"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in str(choose._triton.__wrapped__("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "zorba_ray.directions.triton_cuda", None)
    assert "triton fails on cuda" in str(choose._triton.__wrapped__("cuda"))


def test_a_run_on_simulated_gpus_refuses_triton(tiny_tree: dict[str, Any]) -> None:
    tiny_tree["directions"] = {"backend": "triton"}
    with pytest.raises(
        ConfigError, match=r"directions\.backend=triton .*federation\.gpus=.*set directions\.backend=auto"
    ):
        choose_accelerator(config_from_tree(tiny_tree, "tiny"))
