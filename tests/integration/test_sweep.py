"""Sweeps on real Ray Tune: twins, digests, stops, failures, kills, resumes, W&B inside a trial."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.tiny_run import run_here
from tests.support.wandb_files import assert_all_metrics, read_offline_runs
from zorba_ray.artifacts.campaigns import Sweep, read_campaign
from zorba_ray.campaigns.sweep import plan_trials, run_sweep
from zorba_ray.cli.report import write_run_report
from zorba_ray.config import load_sweep
from zorba_ray.errors import ClusterError, Interrupted, SweepIncomplete

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tune_configs" / "sweeps" / "tiny"
RUN = yaml.safe_load((ROOT / "tune_configs" / "runs" / "tiny.yaml").read_text(encoding="utf-8"))
TWINS_ON_TUNE = ("epsilon", "vram_heterogeneity")
"""One that varies a number, one that varies whole fleets; what Tune does with the others is the same."""


def sweep_file(folder: Path, tree: dict[str, Any]) -> str:
    """A sweep over the tiny run."""
    (folder / "base.yaml").write_text(yaml.safe_dump(RUN), encoding="utf-8")
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "run": "base.yaml", **tree}, sort_keys=False), encoding="utf-8")
    return str(path)


def run_file(
    file: str | Path,
    path: Path,
    *overrides: str,
    resume: bool = False,
    emit: Callable[[dict[str, Any]], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    closing: Any = None,
) -> Sweep:
    """`run_sweep` on the Ray of this session."""
    sweep, base = load_sweep(str(file), overrides)
    return run_sweep(sweep, base, path, resume, ["test"], emit, should_stop, closing)


def finished_so_far() -> tuple[set[int], Callable[[dict[str, Any]], None]]:
    """Numbers of the trials that finished, and the `emit` that collects them."""
    ended: set[int] = set()

    def hear(event: dict[str, Any]) -> None:
        if event["kind"] == "trial" and event["status"] == "finished":
            ended.add(event["trial"])

    return ended, hear


def digests(state: Sweep) -> dict[str, str | None]:
    return {trial.name: trial.weights_sha256 for trial in state.trials}


@pytest.mark.parametrize("file", sorted(TINY.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_trial_of_a_twin_runs(file: Path, tmp_path: Path) -> None:
    """Without Tune: each to its end, and what varies between them reaches θ."""
    trials = plan_trials(*load_sweep(str(file)))
    found = {run_here(trial.config, tmp_path / trial.name)["weights_sha256"] for trial in trials}
    assert len(found) == len(trials) == 2


@pytest.mark.usefixtures("ray_cluster")
class TestOnRay:
    """With the Ray of this session: 8 logical CPUs, 2 logical GPUs."""

    @pytest.mark.parametrize("name", TWINS_ON_TUNE)
    def test_twin(self, name: str, tmp_path: Path) -> None:
        """Every trial ends as an ordinary finished run with the figures that sweep.json says."""
        state = run_file(TINY / f"{name}.yaml", tmp_path / "sweep", closing=write_run_report)
        assert (state.status, [trial.status for trial in state.trials]) == ("finished", ["finished"] * 2)
        for trial in state.trials:
            folder = tmp_path / "sweep" / trial.run
            summary = json.loads((folder / "summary.json").read_text())
            assert summary["weights_sha256"] == trial.weights_sha256
            assert summary["final_loss"] == trial.figures["validation_loss"]
            assert (folder / "report.html").exists()
            assert "round 4 validation" in (tmp_path / "sweep" / trial.log).read_text()
        assert read_campaign(tmp_path / "sweep", Sweep) == state

    def test_a_trial_is_the_plain_run(self, tmp_path: Path) -> None:
        """Inside Tune, sequential and on client actors in bundles of their own: the SHA-256 of the plain run."""
        space = {
            "federation.backend": {"grid": ["sequential", "ray"]},
            "federation.clients": {"grid": [2, 3]},
            "federation.mode": {"grid": ["pinned"]},
        }
        file = sweep_file(tmp_path, {"space": space})
        state = run_file(file, tmp_path / "sweep", "federation.gpus=simulated")
        plans = plan_trials(*load_sweep(file))
        plain = {
            clients: run_here(plans[place].config, tmp_path / f"plain-{clients}")["weights_sha256"]
            for place, clients in ((0, 2), (1, 3))
        }
        found = [(trial.values["federation.clients"], trial.weights_sha256) for trial in state.trials]
        assert found == [(2, plain[2]), (3, plain[3])] * 2
        assert plain[2] != plain[3]

    def test_one_bundle_for_each_actor(self, tmp_path: Path) -> None:
        """Pinned clients with unequal shares of two GPUs, the small ones first: the group holds what the run uses, and
        every actor finds its own bundle."""
        import ray
        from ray.util.placement_group import placement_group_table

        seen: list[list[dict[str, float]]] = []

        def look(event: dict[str, Any]) -> None:
            if event["kind"] == "trial" and event["status"] == "running" and event["round"]:
                groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
                seen.extend([group["bundles"][i] for i in sorted(group["bundles"])] for group in groups)

        fleet = [{"name": "quarter", "count": 2, "vram": 6135680}, {"name": "most", "count": 2, "vram": 3 * 6135680}]
        space = {"federation.fleet": {"grid": {"uneven": fleet}}}
        tree = {"federation.backend": "ray", "federation.mode": "pinned", "federation.gpu_memory": 4 * 6135680}
        state = run_file(sweep_file(tmp_path, {"space": space, "set": tree}), tmp_path / "sweep", emit=look)
        assert state.trials[0].status == "finished"
        assert seen
        node = f"node:{ray.util.get_node_ip_address()}"
        assert seen[0] == [{"CPU": 1.0, node: 0.001}, *[{"GPU": 0.75}] * 2, *[{"GPU": 0.25}] * 2]

    def test_a_trial_that_can_never_start_is_refused_at_once(self, tmp_path: Path) -> None:
        space = {"federation.workers": {"grid": [2, 30]}}
        file = sweep_file(tmp_path, {"space": space, "set": {"federation.backend": "ray", "federation.clients": 30}})
        began = time.monotonic()
        with pytest.raises(ClusterError, match=r"trial 001-workers=30 needs 31 CPU, the cluster has 8 \(23 missing\)"):
            run_file(file, tmp_path / "sweep")
        assert time.monotonic() - began < 30
        assert not any((tmp_path / "sweep" / "trials").iterdir())

    def test_failed_trials_stop_nothing(self, tmp_path: Path) -> None:
        """A rate beyond all bounds, no feasible allocation, and one that is fine: names, causes, logs. A resume tries
        the second again, and not the first, which would diverge as before."""
        fleets = {
            "fits": [{"name": "a", "count": 4, "vram": 6135680}],
            "tiny": [{"name": "b", "count": 4, "vram": 999}],
        }
        space = {
            "federation.fleet": {"grid": fleets},
            "zo.lr": {"grid": [0.02, 1e30], "when": {"federation.fleet": "fits"}},
        }
        file = sweep_file(tmp_path, {"space": space})
        with pytest.raises(SweepIncomplete, match=r"1 of 3 runs failed") as caught:
            run_file(file, tmp_path / "sweep")
        state = read_campaign(tmp_path / "sweep", Sweep)
        assert [trial.status for trial in state.trials] == ["finished", "diverged", "failed"]
        assert (state.trials[1].error or "").startswith("Diverged")
        assert (state.trials[2].error or "").startswith("AllocationInfeasible")
        for trial in state.trials[1:]:
            assert "Traceback" in (tmp_path / "sweep" / trial.log).read_text()
        failed = state.trials[2]
        assert f"{failed.run}/config.resolved.json" in str(caught.value)
        assert failed.log in str(caught.value)
        diverged = tmp_path / "sweep" / state.trials[1].log
        said = diverged.read_text()
        with pytest.raises(SweepIncomplete):
            run_file(file, tmp_path / "sweep", resume=True)
        assert digests(read_campaign(tmp_path / "sweep", Sweep)) == digests(state)
        assert diverged.read_text() == said

    def test_killed_trial_process_goes_on_from_its_ledger(self, tmp_path: Path) -> None:
        """kill -9 of the process that runs a trial: Tune starts another, the digest is the plain run's."""
        killed: list[int] = []

        def strike(event: dict[str, Any]) -> None:
            if event["kind"] == "trial" and event["round"] == 6 and not killed:
                first = (tmp_path / "sweep" / event["log"]).read_text().splitlines()[0]
                killed.append(int(first.split()[1]))  # "process PID on NODE"
                os.kill(killed[0], signal.SIGKILL)

        file = sweep_file(tmp_path, {"space": {"seed": {"grid": [4]}}, "set": {"rounds": 12}})
        state = run_file(file, tmp_path / "sweep", emit=strike)
        assert killed
        plain = run_here(plan_trials(*load_sweep(file))[0].config, tmp_path / "plain")
        assert state.trials[0].weights_sha256 == plain["weights_sha256"]
        summary = json.loads((tmp_path / "sweep" / state.trials[0].run / "summary.json").read_text())
        assert summary["resumed_after_round"] >= 5

    def test_asked_to_stop_and_resumed(self, tmp_path: Path) -> None:
        """As Ctrl-C: running trials end after their round; --resume ends the sweep with the digests of plain runs."""
        file = sweep_file(tmp_path, {"space": {"seed": {"grid": [1, 2, 3]}}, "set": {"rounds": 8}, "concurrency": 1})
        events: list[dict[str, Any]] = []
        stop = lambda: any(e.get("trial") == 1 and e["round"] >= 2 for e in events)  # noqa: E731
        with pytest.raises(Interrupted, match=r"--resume"):
            run_file(file, tmp_path / "sweep", emit=events.append, should_stop=stop)
        state = read_campaign(tmp_path / "sweep", Sweep)
        assert state.status == "interrupted"
        assert [trial.status for trial in state.trials] == ["finished", "pending", "pending"]
        resumed = run_file(file, tmp_path / "sweep", resume=True)
        assert (resumed.status, resumed.sessions) == ("finished", 2)
        assert resumed.trials[0] == state.trials[0]
        expected = [run_here(p.config, tmp_path / p.name)["weights_sha256"] for p in plan_trials(*load_sweep(file))]
        assert [trial.weights_sha256 for trial in resumed.trials] == expected

    @pytest.mark.parametrize("scheduler", ["asha", "median"])
    def test_schedulers_stop_bad_trials(self, scheduler: str, tmp_path: Path) -> None:
        """A rate that makes the model worse loses against three that do not; a resume does not run it again."""
        space = {"zo.lr": {"grid": [0.001, 0.0011, 0.0012, 0.1]}}
        settings = {"type": scheduler, "grace_rounds": 2}
        tree = {"space": space, "set": {"rounds": 8}, "scheduler": settings, "concurrency": 1}
        file = sweep_file(tmp_path, tree)
        state = run_file(file, tmp_path / "sweep")
        assert [trial.status for trial in state.trials] == ["finished"] * 3 + ["stopped"]
        assert (state.trials[3].round or 0) < 8
        summary = json.loads((tmp_path / "sweep" / state.trials[3].run / "summary.json").read_text())
        assert summary["status"] == "interrupted"
        again = run_file(file, tmp_path / "sweep", resume=True)
        assert again.trials == state.trials

    def test_optuna_with_two_objectives_and_a_resume(self, tmp_path: Path) -> None:
        """Four proposals in two sessions, each a trial of its own; the second session knows the first one's."""
        pytest.importorskip("optuna")
        tree = {
            "space": {"zo.lr": {"loguniform": [1e-3, 1e-1]}, "allocation.epsilon": {"choice": [0.0, 0.5, 1.0]}},
            "search": {"type": "optuna", "seed": 3},
            "samples": 4,
            "concurrency": 1,
            "metric": [{"name": "validation_loss"}, {"name": "fleet_vram_bytes"}],
        }
        file = sweep_file(tmp_path, tree)
        ended, hear = finished_so_far()
        with pytest.raises(Interrupted):
            run_file(file, tmp_path / "sweep", emit=hear, should_stop=lambda: len(ended) >= 2)
        first = read_campaign(tmp_path / "sweep", Sweep)
        state = run_file(file, tmp_path / "sweep", resume=True)
        assert [trial.trial for trial in state.trials] == [0, 1, 2, 3]
        assert all(trial.status == "finished" for trial in state.trials)
        assert [trial.values for trial in state.trials[:2]] == [trial.values for trial in first.trials[:2]]
        assert len({trial.values["zo.lr"] for trial in state.trials}) == 4

    def test_wandb_inside_a_trial(self, tmp_path: Path) -> None:
        """On a Ray that was there before: an offline run per trial, group and job type set, all metrics equal."""
        file = sweep_file(tmp_path, {"space": {"seed": {"grid": [1, 2]}}, "set": {"tracking.wandb": "offline"}})
        state = run_file(file, tmp_path / "sweep", closing=write_run_report)
        for trial in state.trials:
            folder = tmp_path / "sweep" / trial.run
            sessions = read_offline_runs(folder)
            assert_all_metrics(folder, sessions)
            assert [found.group for found in sessions] == ["s"]
            assert "wandb sync" in (tmp_path / "sweep" / trial.log).read_text()


def start(file: str, path: Path, *flags: str) -> subprocess.Popen[str]:
    """`python -m zorba_ray sweep …` on a private Ray, in a session of its own."""
    command = [sys.executable, "-m", "zorba_ray", "sweep", file, "--sweep-dir", str(path), *flags]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=ROOT
    )


def test_driver_killed_and_resumed(tmp_path: Path) -> None:
    """kill -9 of the program with its private Ray in the middle of a trial: the resume ends every trial, once, with
    the digests of undisturbed runs."""
    file = sweep_file(tmp_path, {"space": {"seed": {"grid": [1, 2]}}, "set": {"rounds": 30}})
    path = tmp_path / "sweep"
    process = start(file, path)
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None and not _rounds(path):
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    before = read_campaign(path, Sweep)
    assert any(trial.status != "finished" for trial in before.trials)
    resumed = start(file, path, "--resume")
    output, _ = resumed.communicate(timeout=400)
    assert resumed.returncode == 0, output
    state = read_campaign(path, Sweep)
    expected = [run_here(p.config, tmp_path / p.name)["weights_sha256"] for p in plan_trials(*load_sweep(file))]
    assert [trial.weights_sha256 for trial in state.trials] == expected
    for trial in state.trials:
        rows = [json.loads(line) for line in (path / trial.run / "metrics.jsonl").read_text().splitlines()]
        assert [row["round"] for row in rows if row["kind"] == "round"] == list(range(1, 31))
    assert (path / "report.html").exists()


def _rounds(path: Path) -> bool:
    return any('"kind": "round"' in file.read_text() for file in path.glob("trials/*/metrics.jsonl"))


def test_sigterm_ends_the_sweep_after_the_round(tmp_path: Path) -> None:
    """As a scheduler of jobs does it: code 130, the running trial's summary is written, the sweep says how to go on."""
    file = sweep_file(tmp_path, {"space": {"seed": {"grid": [1, 2]}}, "set": {"rounds": 400, "eval.every": 400}})
    path = tmp_path / "sweep"
    process = start(file, path)
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None and not _rounds(path):
        time.sleep(0.05)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "--resume" in output
    state = read_campaign(path, Sweep)
    assert (state.status, {trial.status for trial in state.trials}) == ("interrupted", {"pending"})
    summary = json.loads((path / state.trials[0].run / "summary.json").read_text())
    assert (summary["status"], 0 < summary["rounds_done"] < 400) == ("interrupted", True)
