"""The rows that a GPU owes, with the CPU in the place of the GPU: all are taken, no speed is judged."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import digests, kernels, memory, steps
from benchmarks.gpu.device import Device
from benchmarks.gpu.session import Session, Sizes
from benchmarks.rows import Row
from benchmarks.shapes import THOUSANDS, model_folder

WITHOUT = ("ray", "pyomo", "highspy", "wandb", "datasets", "rouge_score", "optuna")
"""What a machine with a GPU may lack."""


class Host(Device):
    """The CPU. It has no allocator that counts, so every peak is a mebibyte."""

    name = "cpu"
    directions = "numba"

    def label(self) -> str:
        return "stand-in"

    def seconds(self, call: Callable[[], object], times: int = 1) -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    def allocated(self) -> int:
        return 0

    def peak(self, call: Callable[[], object]) -> int:
        call()
        return 1 << 20


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Sizes:
    """A model of a few thousand weights."""
    folder = str(model_folder(tmp_path_factory.mktemp("gpu") / "model", THOUSANDS))
    return Sizes(1 << 10, (8, 128), 16, 1, (folder,), folder, batch=2, length=8, seconds=1e9)


def taken(part: object, device: Device | None, sizes: Sizes) -> list[Row]:
    session = Session(device, sizes, None)
    part.measure(session)  # pyright: ignore[reportAttributeAccessIssue]
    return session.rows


@pytest.mark.parametrize("part", [digests, kernels, steps, memory], ids=lambda part: part.__name__.split(".")[-1])
def test_every_row_is_taken(part: object, sizes: Sizes) -> None:
    """The same rows are named where there is no device."""
    rows = taken(part, Host(), sizes)
    assert {row.device for row in rows} == {"stand-in"}
    assert all(row.value == row.value for row in rows)
    assert part is not digests or all(row.met for row in rows)
    blank = taken(part, None, sizes)
    assert [row.row for row in blank] == [row.row for row in rows]
    assert {row.device for row in blank} == {"not run on a GPU"}
    assert [row.goal for row in blank] == [row.goal for row in rows]


def test_a_row_that_fails_and_one_that_is_late_lose_no_other(sizes: Sizes, tmp_path: Path) -> None:
    """All are in the file, which is there after each row."""
    file = tmp_path / "made" / "rows.json"
    session = Session(Host(), sizes, file)

    def fails() -> list[float]:
        raise RuntimeError("no kernel image")

    session.row("first", "s", None, lambda: [1.0])
    session.row("second", "s", ("≤ 2", lambda found: found <= 2), fails)
    assert [row["value"] for row in json.loads(file.read_text())] == [1.0, None]
    session._begin -= 1e10
    session.row("third", "s", None, lambda: [1.0])
    told = [row["device"] for row in json.loads(file.read_text())]
    assert told == ["stand-in", "failed: RuntimeError: no kernel image", "left out: 1e+09 s are over"]
    assert session.rows[1].met is None


def test_it_runs_without_the_packages_that_a_gpu_machine_may_lack(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({WITHOUT})); sys.argv[0] = 'benchmarks'; "
        "from benchmarks.__main__ import main; main()"
    )
    arguments = ["gpu", "--quick", "--out", str(tmp_path / "rows.json")]
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=Path(gpu.__file__).parents[2], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(json.loads((tmp_path / "rows.json").read_text())) == len(ran.stdout.splitlines()) > 50
