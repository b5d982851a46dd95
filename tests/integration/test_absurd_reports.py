"""One of eight clients reports finite nonsense in round 5: it is left out by name, and the run is the one in which that
report never arrived."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support.hostile_client import Change, gone, hostile, scalars_of, steps_of
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Round, records_of
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Diverged, LostClients
from zorba_ray.experiment.backends import ray_backend
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol import replay as replay_module
from zorba_ray.protocol import states as states_module
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ProbeReport

CULPRIT, ROUND = 3, 5
METHODS: dict[str, tuple[str, ...]] = {
    "zorba": (),
    "decomfl": ("zo.directions=2", "zo.difference=forward", "federation.seeds=shared", "zo.lr=0.005"),
    "fedkseed": ("zo.schedule=constant", "zo.local_steps=2", "method_settings.pool=8", "zo.lr=0.003"),
    "fedavg": ("method_settings.lr=0.05", "method_settings.local_steps=1"),
    "fedit": ("zo.scope=lora", "method_settings.lr=0.01", "method_settings.local_steps=1", "model.lora.rank=2"),
}


def config(*overrides: str) -> ExperimentConfig:
    return tiny_config("rounds=6", "federation.clients=8", "eval.every=6", "eval.rows=16", *overrides)


def attacked(settings: ExperimentConfig, path: Path, change: Change, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Summary, and the notes for the user."""
    notes: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])

    return run_here(settings, path, hostile(CULPRIT, ROUND, change, **more), emit), notes


def record(path: Path) -> dict[str, Any]:
    """Of round 5."""
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
    return next(own for own in records if own["kind"] == "round" and own["round"] == ROUND)


def assert_left_out(path: Path, summary: dict[str, Any], notes: list[str], without: dict[str, Any]) -> None:
    own = record(path)
    assert list(own["rejected"]) == [str(CULPRIT)]
    assert own["clients_ok"] == 7
    assert [note for note in notes if note.startswith(f"round {ROUND}: client {CULPRIT} is left out: ")] == [
        f"round {ROUND}: client {CULPRIT} is left out: {own['rejected'][str(CULPRIT)]}"
    ]
    assert (summary["status"], summary["rounds_done"]) == ("finished", 6)
    assert summary["weights_sha256"] == without["weights_sha256"]
    assert replay_run(path, None, None, None).confirmed


@pytest.mark.parametrize("method", METHODS)
def test_3e38_is_named_and_left_out(method: str, tmp_path: Path) -> None:
    settings = config(f"method={method}", *METHODS[method])
    without, _ = attacked(settings, tmp_path / "without", gone)
    absurd = steps_of if method == "fedkseed" else scalars_of
    summary, notes = attacked(settings, tmp_path / "run", absurd(3e38))
    assert_left_out(tmp_path / "run", summary, notes, without)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (scalars_of(-3e38), "losses would differ by 16777216 or more"),
        (scalars_of(1e6), "losses cannot differ by more than they are"),
        (scalars_of(3e38, loss=3e38), "no digit after the point"),
        # Losses that would explain the scalars: what they do to θ is judged.
        (scalars_of(1e9, loss=1.6e7), "would move weights by up to 2e"),
        (scalars_of(1e6, loss=1.1e4), "in all, and the whole model has the length"),
        (scalars_of(1.0, loss=-1.0), "never negative"),
    ],
)
def test_other_absurdities(change: Change, reason: str, tmp_path: Path) -> None:
    """η is large here, so that what fits the loss can still be too much for θ."""
    settings = config("zo.lr=0.02", "zo.perturbation_scale=0.01", "zo.schedule=constant")
    without, _ = attacked(settings, tmp_path / "without", gone)
    summary, notes = attacked(settings, tmp_path / "run", change)
    assert reason in record(tmp_path / "run")["rejected"][str(CULPRIT)]
    assert_left_out(tmp_path / "run", summary, notes, without)


@pytest.mark.parametrize(
    "settings",
    [
        (
            "federation.aggregate=clip_spread",
            "federation.spread=3",
        ),
        ("federation.seeds=shared", "zo.rank=2", "zo.scope=matrices", "zo.lr=0.001"),
        ("federation.weights=inverse_noise",),
    ],
    ids=["clipped to the spread", "low rank", "inverse noise"],
)
def test_no_setting_hides_anybody(settings: tuple[str, ...], tmp_path: Path) -> None:
    without, _ = attacked(config(*settings), tmp_path / "without", gone)
    summary, notes = attacked(config(*settings), tmp_path / "run", scalars_of(3e38))
    assert_left_out(tmp_path / "run", summary, notes, without)


def test_too_few_left_is_an_error_and_nothing_is_committed(tmp_path: Path) -> None:
    """The quorum holds; an honest resume goes on from round 4."""
    settings = config("federation.quorum=1.0")
    straight = run_here(settings, tmp_path / "straight")
    with pytest.raises(LostClients, match=f"round {ROUND}: 7 of 8 reports.*client {CULPRIT}: "):
        attacked(settings, tmp_path / "run", scalars_of(3e38))
    assert read_ledger(tmp_path / "run" / "ledger.zl").last_round == ROUND - 1
    assert run_here(settings, tmp_path / "run")["weights_sha256"] == straight["weights_sha256"]


def test_a_rate_that_no_weight_survives_is_divergence_before_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="round 1: the numbers of 8 of 8 clients are no longer finite or too large"):
        run_here(config("zo.lr=1e30"), tmp_path / "run")
    assert read_ledger(tmp_path / "run" / "ledger.zl").last_round == 0


def test_rounds_that_are_too_large_again_and_again_end_the_run(tmp_path: Path) -> None:
    """What was committed stays, and an honest resume goes on from there."""
    settings = config("zo.lr=0.02", "zo.perturbation_scale=0.01", "federation.patience=2")
    too_large = hostile(CULPRIT, None, scalars_of(1e6, loss=1.1e4))
    with pytest.raises(Diverged, match=rf"round 2: in 2 rounds in a row .*client {CULPRIT}: .*--rollback-to 0"):
        run_here(settings, tmp_path / "run", too_large)
    assert read_ledger(tmp_path / "run" / "ledger.zl").last_round == 1
    summary = run_here(settings, tmp_path / "run")
    assert (summary["status"], summary["rounds_done"], summary["clients_rejected"]) == ("finished", 6, 1)


LENGTHS: dict[str, tuple[str, ...]] = {
    **METHODS,
    "zorba, low rank": ("zo.rank=2", "zo.scope=matrices", "zo.lr=0.001"),
    "zorba, gaussian": ("zo.distribution=gaussian", "zo.scope=all", "zo.lr=1e-4", "zo.directions=3"),
    "zorba, shared": ("federation.seeds=shared", "zo.directions=2"),
    "zorba, per example": ("zo.directions_per=example", "zo.scope=all", "zo.lr=1e-4"),
}


@pytest.mark.parametrize("method", LENGTHS)
def test_the_length_of_a_round_is_known_before_it_is_applied(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """‖Δθ‖ as it is judged, against ‖θ1 − θ0‖ as it then is."""
    judged: list[float] = []
    for module in (replay_module, states_module):
        monkeypatch.setattr(module, "require_short", lambda length, size, what: judged.append(length))
    run_here(config(f"method={method.split(',')[0]}", *LENGTHS[method], "rounds=1"), tmp_path / "run")
    (first, *_) = records_of(tmp_path / "run" / "metrics.jsonl", Round)
    assert judged[0] == pytest.approx(first.distance, rel=0.1)


def test_a_probe_of_3e38_is_left_out(tmp_path: Path) -> None:
    """Energies and deals are those of a probe that the client never answered."""

    def absurd(report: ProbeReport) -> ProbeReport:
        scalars = np.full(len(report.scalars) // 4, 3e38, dtype="<f4").tobytes()
        return msgspec.structs.replace(report, scalars=scalars)

    probed = ("allocation.block_weights=probe", "allocation.probe_pairs=2", "allocation.epsilon=0.5")
    settings = config("rounds=2", "memory.frozen=host", *probed)
    summary = run_here(settings, tmp_path / "run", hostile(CULPRIT, 1, absurd, of=ProbeReport))
    without = run_here(settings, tmp_path / "without", hostile(CULPRIT, 1, lambda report: None, of=ProbeReport))
    assert summary["weights_sha256"] == without["weights_sha256"]
    probes = [
        json.loads((tmp_path / name / "allocation.json").read_text("utf-8"))["probes"][0] for name in ("run", "without")
    ]
    assert probes[0]["clients"] == probes[1]["clients"] == 7


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_on_ray_the_same(tmp_path: Path) -> None:
    settings = config("federation.backend=ray")
    here, _ = attacked(config(), tmp_path / "here", scalars_of(3e38))
    there, notes = attacked(settings, tmp_path / "there", scalars_of(3e38), inner=ray_backend)
    assert_left_out(tmp_path / "there", there, notes, here)
