"""`import zorba_ray`: the commands of the terminal as functions, with the same refusals, and nothing heavy at first."""

import subprocess
import sys
from pathlib import Path

import pytest

import zorba_ray
from tests.support.tiny_run import TINY
from zorba_ray.errors import AllocationInfeasible, ConfigError, RunDirError


def test_the_import_is_light() -> None:
    code = "import sys, zorba_ray; dir(zorba_ray); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "pydantic", "pandas", "numpy"} & set(done.stdout.split())
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zorba_ray.nothing
    assert all(callable(getattr(zorba_ray, name)) for name in zorba_ray.__all__)


def test_a_run_and_its_replay(tmp_path: Path) -> None:
    """Refused where the directory is taken, taken up by `resume`, and the bits of the ledger's replay."""
    config, path = zorba_ray.load_config("demo", *TINY), tmp_path / "run"
    events: list[str] = []
    run = zorba_ray.run(config, path, emit=lambda event: events.append(event["kind"]))
    assert events.count("round") == 3
    assert (run.status, run.rounds_done, run.summary) == ("finished", 3, zorba_ray.Run(path).summary)
    assert run.rounds_frame()["loss"].tolist() == [record.loss for record in run.rounds]
    assert run.allocation.assignments[0].active.counts.tolist() == [run.allocation.blocks] * 4
    assert (path / "report.html").exists()
    assert run.summary is not None
    assert zorba_ray.replay(path).digest == run.summary.weights_sha256
    assert zorba_ray.replay(str(path), until=2, export=tmp_path / "model").round == 2
    assert (tmp_path / "model" / "config.json").exists()
    with pytest.raises(RunDirError, match="continue it with --resume"):
        zorba_ray.run(config, path)
    with pytest.raises(RunDirError, match="there is no run directory"):
        zorba_ray.run(config, tmp_path / "other", resume=True)
    zorba_ray.run(config, path, resume=True, emit=lambda event: events.append(event.get("text", "")))
    assert events[-1] == f"{path} is finished; nothing to resume"


def test_settings_that_are_refused_leave_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zo\.lr = -1"):
        zorba_ray.load_config("demo", "zo.lr=-1")
    with pytest.raises(ConfigError, match="no difference can be measured"):
        zorba_ray.run(zorba_ray.load_config("demo", *TINY, "zo.perturbation_scale=1e-12"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_allocation() -> None:
    """Every block on every client, as no fleet sets a budget; a fleet with too little room is refused."""
    found = zorba_ray.allocate(zorba_ray.load_config("demo", *TINY))
    assert [client.blocks for client in found.clients] == [tuple(range(found.blocks))] * 4
    fleet = "federation.fleet=[{name: a, count: 4, vram: 1KB}]"
    with pytest.raises(AllocationInfeasible, match="bytes missing"):
        zorba_ray.allocate(zorba_ray.load_config("demo", *TINY, fleet, "memory.frozen=host"))
