"""Profiled runs: the numbers of the unprofiled ones, and where their time went."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Interrupted
from zorba_ray.experiment import prepare
from zorba_ray.experiment.backends import ray_backend, sequential_backend
from zorba_ray.federation import Backend
from zorba_ray.report import write_report
from zorba_ray.stopwatch import UNWATCHED

SMALL = ("federation.snapshot_every=2", "zo.local_steps=2")
PROFILE = "tracking.profile=true"


@pytest.fixture(scope="module")
def sha(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of θ after the run that nobody measured."""
    path = tmp_path_factory.mktemp("plain") / "run"
    summary = run_here(tiny_config(*SMALL), path)
    assert not (path / "profile.json").exists()
    return summary["weights_sha256"]


def read(path: Path) -> dict[str, Any]:
    tree = json.loads((path / "profile.json").read_text(encoding="utf-8"))
    assert tree.pop("version") == 1
    return tree


def check_sums(profile: dict[str, Any]) -> None:
    """No part is negative and nothing is left out."""
    parts = profile["parts"].values()
    assert min(part["seconds"] for part in parts) >= 0
    assert sum(part["seconds"] for part in parts) == pytest.approx(profile["wall_s"], rel=1e-9)
    assert sum(part["share"] for part in parts) == pytest.approx(1.0, rel=1e-9)


def test_a_profiled_run_is_the_same_run(sha: str, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    summary = run_here(tiny_config(*SMALL, PROFILE), tmp_path / "run", emit=events.append)
    assert summary["weights_sha256"] == sha
    profile = read(tmp_path / "run")
    check_sums(profile)
    spent = {name for name, part in profile["parts"].items() if part["seconds"] > 0}
    assert set(profile["parts"]) - spent == {"imbalance", "ray"}
    assert profile["rounds"] == {"first": 1, "last": 3, "count": 3}
    assert [event for event in events if event["kind"] == "profile"] == [{**profile, "kind": "profile"}]
    # The same time as the records tell, which are taken by other calls of the clock.
    records = [event for event in events if event["kind"] == "round"]
    asked = sum(profile["parts"][name]["seconds"] for name in ("forward", "perturb", "local_steps", "kernels"))
    assert asked <= sum(record["time"]["clients_s"] for record in records) <= profile["wall_s"]
    assert sum(record["time"]["round_s"] for record in records) <= profile["wall_s"] <= summary["wall_s"]
    assert profile["cpu_s"] <= summary["cpu_s"]


def test_a_probe_s_passes_are_no_time_of_aggregating(tmp_path: Path) -> None:
    """Clients elsewhere: what the driver waits for them stands under Ray, the solver's time beside it."""
    memory = prepare(tiny_config("memory.frozen=host")).memory.of(None)
    room = memory.base + 2 * int(memory.active_extra[0])
    fleet = f"federation.fleet=[{{name: a, count: 4, vram: {room}}}]"
    probing = ("allocation.block_weights=probe", "allocation.probe_pairs=4", "rounds=1")

    def elsewhere(*arguments: Any) -> Backend:
        host = arguments[1]
        host.watch = UNWATCHED  # as if its process were another
        return sequential_backend(*arguments)

    run_here(
        tiny_config(PROFILE, "memory.frozen=host", fleet, *probing, "federation.backend=ray"),
        tmp_path / "run",
        elsewhere,
    )
    profile = read(tmp_path / "run")
    check_sums(profile)
    parts = {name: part["seconds"] for name, part in profile["parts"].items()}
    # 4 clients × 6 blocks × 2 batches × 4 pairs, against 4 × 1 pairs of the round.
    assert parts["ray"] > 2 * (parts["assignment"] + parts["aggregate"])


def test_a_run_that_ends_early_and_its_resume_each_tell_their_own_rounds(
    sha: str, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    path, config = tmp_path / "run", tiny_config(*SMALL, PROFILE)
    rounds: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "round":
            rounds.append(event["round"])

    with pytest.raises(Interrupted):
        run_here(config, path, emit=emit, should_stop=lambda: len(rounds) >= 2)
    assert read(path)["rounds"] == {"first": 1, "last": 2, "count": 2}
    check_sums(read(path))
    file = unprofiled(config, tmp_path / "settings.json")
    outcome = cli("run", file, "--run-dir", path, "--resume", "--profile")
    assert outcome.code == 0, outcome.err
    assert "Rounds 3–3 in one process" in outcome.err + outcome.out
    assert json.loads((path / "summary.json").read_text(encoding="utf-8"))["weights_sha256"] == sha
    assert read(path)["rounds"] == {"first": 3, "last": 3, "count": 1}
    check_sums(read(path))
    page = write_report([path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Rounds 3–3 in one process" in page


def unprofiled(config: ExperimentConfig, file: Path) -> Path:
    """The settings as a file that says nothing of a profile."""
    tree = config.resolved()
    del tree["tracking"]["profile"]
    file.write_text(json.dumps(tree), encoding="utf-8")
    return file


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_on_ray_waiting_is_told_apart(sha: str, tmp_path: Path) -> None:
    config = tiny_config(*SMALL, PROFILE, "federation.backend=ray", "federation.workers=2", "federation.deadline_s=120")
    summary = run_here(config, tmp_path / "run", ray_backend)
    assert summary["weights_sha256"] == sha
    assert [set(worker) for worker in summary["workers"]] == [{"worker", "cpu_s", "peak_rss_bytes"}] * 2
    profile = read(tmp_path / "run")
    check_sums(profile)
    spent = {name for name, part in profile["parts"].items() if part["seconds"] > 0}
    assert {"forward", "perturb", "local_steps", "batches", "ray", "apply", "evaluation"} <= spent
    assert profile["workers"] == 2
