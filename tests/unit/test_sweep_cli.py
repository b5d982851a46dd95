"""`zorba-ray sweep` with wrong input: one message, the documented exit code, nothing started and nothing lost."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Cli
from zorba_ray.artifacts import RunDir, held
from zorba_ray.campaigns.sweep import run as sweep_run
from zorba_ray.campaigns.sweep.plan import plan_trials
from zorba_ray.campaigns.sweep.state import add_trial, begin_sweep
from zorba_ray.config import load_sweep
from zorba_ray.errors import RunDirError

RUN = Path(__file__).resolve().parents[2] / "tune_configs" / "runs" / "tiny.yaml"
GOOD: dict[str, Any] = {"name": "s", "run": str(RUN), "space": {"seed": {"grid": [1, 2]}}}


def write(folder: Path, **change: Any) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {"zo.lrr": {"grid": [1]}}}, "did you mean zo.lr?"),
        ({"space": {"zo.lr": {"grid": ["1e-3", "0.001"]}}}, "are the same run"),
        ({"space": {"federation.clients": {"grid": [0]}}}, "federation.clients = 0"),
        ({"run": "nothing.yaml"}, "nothing.yaml"),
    ],
)
def test_refused_with_code_2(cli: Cli, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    outcome = cli("sweep", write(tmp_path, **change), "--sweep-dir", tmp_path / "out")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("error: ") == 1
    assert not (tmp_path / "out").exists()


def test_dry_run_lists_trials_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    file = write(tmp_path, set={"federation.backend": "ray", "federation.workers": 3})
    outcome = cli("sweep", file, "--dry-run", "--sweep-dir", tmp_path / "out")
    assert outcome.code == 0
    rows = [line for line in outcome.out.splitlines() if "-seed=" in line]
    assert [row.replace("│", " ").split() for row in rows] == [
        ["000-seed=1", "4", "1", "4"],
        ["001-seed=2", "4", "1", "4"],
    ]
    assert not (tmp_path / "out").exists()


def test_resume_with_a_changed_space_and_a_directory_in_use(cli: Cli, tmp_path: Path) -> None:
    file = write(tmp_path)
    sweep, base = load_sweep(str(file))
    directory = begin_sweep(tmp_path / "out", sweep, base, ["test"])
    for plan in plan_trials(sweep, base):
        add_trial(directory.state, plan)
    directory.state.trials[0].status = "running"
    directory.write()
    again = cli("sweep", file, "--sweep-dir", tmp_path / "out")
    assert (again.code, "exists: continue it with --resume" in again.err) == (2, True)
    changed = cli(
        "sweep", write(tmp_path, space={"seed": {"grid": [1, 3]}}), "--sweep-dir", tmp_path / "out", "--resume"
    )
    assert changed.code == 2
    assert "space.seed.grid: [1, 2] -> [1, 3]" in changed.err
    other = cli("sweep", write(tmp_path), "rounds=5", "--sweep-dir", tmp_path / "out", "--resume")
    assert (other.code, "run.rounds: 4 -> 5" in other.err) == (2, True)
    missing = cli("sweep", file, "--sweep-dir", tmp_path / "none", "--resume")
    assert (missing.code, "sweep.json is missing" in missing.err) == (2, True)
    (tmp_path / "out" / "sweep.json").write_text("{", encoding="utf-8")
    damaged = cli("sweep", file, "--sweep-dir", tmp_path / "out", "--resume")
    assert (damaged.code, "cannot be read as JSON" in damaged.err) == (2, True)


def test_optuna_without_its_package(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    file = write(tmp_path, space={"zo.lr": {"uniform": [0.1, 0.2]}}, search={"type": "optuna"}, samples=2)
    outcome = cli("sweep", file, "--sweep-dir", tmp_path / "out")
    assert outcome.code == 2
    assert "pip install 'zorba-ray[optuna]'" in outcome.err


def test_what_a_refused_sweep_left_is_no_obstacle(tmp_path: Path) -> None:
    """Folders of which no run has begun: killed while Ray started, or refused by the cluster."""
    sweep, base = load_sweep(str(write(tmp_path)))
    out = tmp_path / "out"
    for name in ("trials/000", "logs"):
        (out / name).mkdir(parents=True)
    (out / ".lock").touch()
    begin_sweep(out, sweep, base, ["test"]).write()
    begin_sweep(out, sweep, base, ["test"])
    (out / "trials" / "000" / "ledger.zl").touch()
    with pytest.raises(RunDirError, match="exists"):
        begin_sweep(out, sweep, base, ["test"])


def test_a_run_directory_killed_before_its_settings(tmp_path: Path) -> None:
    """Nothing but the lock, and half a file: the run may begin."""
    config = plan_trials(*load_sweep(str(write(tmp_path))))[0].config
    (tmp_path / "run").mkdir()
    for name in (".lock", ".config.resolved.json.123"):
        (tmp_path / "run" / name).touch()
    assert RunDir.create(tmp_path / "run", config).config.exists()


def test_two_programs_in_one_sweep(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits a little, then says so; it touches nothing."""
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(sweep_run, "held", lambda path, wait_s: held(path, 0.2))
    with held(tmp_path / "out"):
        outcome = cli("sweep", write(tmp_path), "--sweep-dir", tmp_path / "out")
    assert (outcome.code, "is in use by another process" in outcome.err) == (2, True)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [".lock"]
