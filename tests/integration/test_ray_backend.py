"""The Ray backend on real processes: one SHA-256 with the sequential one, whatever is killed or stopped."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.chaos.sabotage import Sabotage, run_with
from tests.support.tiny_run import ALIKE, run_here, tiny_config
from zorba_ray.artifacts import Run, RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ClusterError, LedgerError
from zorba_ray.experiment.backends import ray_backend
from zorba_ray.experiment.execute import ENTRY, driver_payload
from zorba_ray.experiment.replay import replay_run
from zorba_ray.federation.placement import place_clients

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

CLIPPED = (
    "federation.aggregate=clip_spread",
    "federation.spread=2", "zo.local_steps=2", "zo.directions=2", "zo.lr=3e-3",
    "federation.snapshot_every=2", "rounds=7",
    "data.label_shift=0.5", "data.label_shift_schedule=linear",
    "adversaries=[{clients: [2], kind: noise, scale: 5}]",
)  # fmt: skip
MEDIAN = (
    "federation.seeds=shared", "federation.clients=6", "federation.aggregate=median", "allocation.coverage=3",
    "adversaries=[{clients: [1], kind: not_finite}, {clients: [4], kind: sign_flip, scale: 9}]",
)  # fmt: skip
RAY = ("federation.backend=ray", "federation.deadline_s=120")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of θ after the sequential run of six rounds."""
    return run_here(tiny_config("rounds=6"), tmp_path_factory.mktemp("sequential") / "run")["weights_sha256"]


@pytest.mark.parametrize(
    ("overrides"),
    [
        ("federation.mode=packed", "federation.workers=1"),
        ("federation.mode=packed", "federation.workers=2", "directions.backend=numpy"),
        ("federation.mode=pinned",),
    ],
    ids=["one worker", "two workers, numpy directions", "pinned: four actors"],
)
def test_ray_equals_sequential(reference: str, tmp_path: Path, overrides: tuple[str, ...]):
    """Backend, mode, number of actors and implementation of the directions leave no trace in θ."""
    summary = run_here(tiny_config("rounds=6", *RAY, *overrides), tmp_path / "run", ray_backend)
    assert summary["weights_sha256"] == reference
    assert replay_run(tmp_path / "run", None, None, None).digest == reference


@pytest.mark.parametrize(
    "settings",
    [
        MEDIAN,
        ("zo.rank=2", "zo.scope=all", "zo.lr=1e-4"),
        ("zo.directions_per=example", "zo.directions=2", "zo.scope=all", "zo.lr=1e-3", "data.batch_size=6"),
        CLIPPED,
        (*ALIKE, "memory.frozen=host"),
    ],
    ids=[
        "shared seeds, attacked",
        "low rank",
        "per example",
        "clipped, attacked, labels shifted",
        "rows that begin alike, streamed",
    ],
)
def test_other_directions_on_ray_equal_sequential(tmp_path: Path, settings: tuple[str, ...]):
    """Six clients dealt to two workers share blocks three by three, in one process six by six."""
    here = run_here(tiny_config(*settings), tmp_path / "here")
    config = tiny_config(*RAY, "federation.workers=2", *settings)
    there = run_here(config, tmp_path / "there", ray_backend)
    assert there["weights_sha256"] == here["weights_sha256"]


def test_killed_actor_changes_nothing(reference: str, tmp_path: Path):
    """kill -9 of one of two actors mid-round: restarted, rebuilt from the ledger, asked again."""
    kill = Sabotage([2], signal.SIGKILL)
    config = tiny_config("rounds=6", *RAY, "federation.workers=2")
    summary = run_with(config, tmp_path / "run", kill.hear)
    assert len(kill.hit) == 1
    assert summary["weights_sha256"] == reference
    assert summary["clients_failed"] == summary["clients_late"] == 0
    assert summary["retries"] >= 1


def test_killed_actor_goes_on_from_a_snapshot(tmp_path: Path):
    """Killed in round 5: back from the snapshot of round 4."""
    expected = run_here(tiny_config(*CLIPPED, "federation.snapshot_every=null"), tmp_path / "here")["weights_sha256"]
    kill = Sabotage([4], signal.SIGKILL)
    config = tiny_config(*CLIPPED, *RAY, "federation.workers=2")
    summary = run_with(config, tmp_path / "run", kill.hear)
    assert len(kill.hit) == 1
    assert summary["retries"] >= 1
    assert summary["weights_sha256"] == expected


def test_lost_quorum_stops_the_run_and_resumes(reference: str, tmp_path: Path):
    """Both actors hang: below the quorum the run ends with LostClients; the resume reaches the undisturbed SHA-256."""
    from zorba_ray.errors import LostClients

    held: list[Any] = []

    def factory(*arguments: Any) -> Any:
        held.append(ray_backend(*arguments))
        return held[-1]

    def stop_all(event: dict[str, Any]) -> None:
        if event["kind"] == "round" and event["round"] == 3:
            for pid in held[-1].processes().values():
                os.kill(pid, signal.SIGSTOP)

    config = tiny_config("rounds=6", "federation.backend=ray", "federation.workers=2", "federation.deadline_s=20")
    with pytest.raises(LostClients, match=r"round 4: 0 of 4 reports, federation.quorum=0.5 needs 2"):
        run_here(config, tmp_path / "run", factory, stop_all)
    assert Run(tmp_path / "run").status == "lost_clients"
    summary = run_here(tiny_config("rounds=6"), tmp_path / "run")
    assert summary["weights_sha256"] == reference
    assert summary["resumed_after_round"] == 3


def test_driver_actor_runs_and_stops(reference: str, tmp_path: Path):
    """The driver actor passes events on, obeys a stop after the round in progress, and the run resumes."""
    from zorba_ray.errors import Interrupted
    from zorba_ray.federation.ray_driver import launch

    config = tiny_config("rounds=6", *RAY, "federation.workers=1")
    seen: list[dict[str, Any]] = []
    run = RunDir.create(tmp_path / "run", config)
    payload = driver_payload(config.resolved(), run.path, "simulated", ["test"])
    with pytest.raises(Interrupted, match=r"continue with .*--resume"):
        launch(ENTRY, payload, seen.append, _after_round(seen, 2))
    assert any(event["kind"] == "allocation" for event in seen)
    summary = launch(ENTRY, payload, seen.append, lambda: False)
    assert summary["weights_sha256"] == reference


def test_an_actor_that_finds_other_weights_says_so(tmp_path: Path):
    """A ledger's error with its own exit code, in one sentence, not the traceback of another process."""

    def elsewhere(setup: Any, *arguments: Any) -> Any:
        return ray_backend(
            replace(setup, header=msgspec.structs.replace(setup.header, weights_sha256="0" * 64)), *arguments
        )

    with pytest.raises(
        LedgerError, match=r"the ledger begins at weights 0000000000000000…, this model's are"
    ) as caught:
        run_here(tiny_config(*RAY), tmp_path / "run", elsewhere)
    assert "Traceback" not in str(caught.value)


def _after_round(seen: Sequence[dict[str, Any]], number: int) -> Callable[[], bool]:
    return lambda: any(event["kind"] == "round" and event["round"] >= number for event in seen)


def test_too_small_cluster_is_refused_with_the_shortfall():
    """More GPU than the cluster has: an error at once, no silent wait."""
    import ray

    from zorba_ray.federation.ray_session import require_capacity

    fleet = [{"name": "big", "count": 4, "vram": "60GiB"}]
    config = ExperimentConfig.model_validate({"federation": {"clients": 4, "fleet": fleet, "mode": "pinned"}})
    specs = place_clients(config.federation, [60 * 2**30] * 4, None)
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"has 2 GPU, the 4 client actors need 4 \(2 missing\)"):
        require_capacity(specs, ray.cluster_resources())
    assert time.monotonic() - began < 10
