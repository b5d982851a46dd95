"""Runs under attack keep the promises of others, whatever the method, the task and the aggregation: one SHA-256, a
replay and a resume that give it, and no end before the last round."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_methods import FEDERATED, TINY
from tests.contract.test_tasks import _of
from tests.support.hostile_client import gone, hostile
from tests.support.task_data import TASKS
from tests.support.tiny_run import run_here, stopped_after, tiny_config
from zorba_ray.artifacts import Round, RunDir, records_of
from zorba_ray.config import ExperimentConfig, attack_names, load_method
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger

AGGREGATIONS = {
    "clip_spread": ("federation.aggregate=clip_spread",),
    "median": ("federation.seeds=shared", "federation.aggregate=median", "allocation.coverage=3"),
    "trimmed_mean": ("federation.seeds=shared", "federation.aggregate=trimmed_mean", "allocation.coverage=3"),
    "krum": ("federation.seeds=shared", "federation.aggregate=krum", "allocation.coverage=5", "federation.clients=6"),
}
METHODS = [name if name == "zorba" else pytest.param(name, marks=pytest.mark.slow) for name in FEDERATED]


def attacked(kind: str, scale: float, *overrides: str) -> ExperimentConfig:
    return tiny_config(f"adversaries=[{{clients: [2], kind: {kind}, scale: {scale}}}]", *overrides)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_attacked_and_is_replayed(method: str, tmp_path: Path) -> None:
    """A flipped sign is another run; asked again it is the same one."""
    own = (f"method={method}", *TINY[method])
    honest = run_here(tiny_config(*own), tmp_path / "honest")
    first = run_here(attacked("sign_flip", 1.0, *own), tmp_path / "first")
    second = run_here(attacked("sign_flip", 1.0, *own), tmp_path / "second")
    assert first["weights_sha256"] == second["weights_sha256"] != honest["weights_sha256"]
    assert replay_run(tmp_path / "first", None, None, None).confirmed


@pytest.mark.parametrize("method", METHODS)
def test_scaled_by_one_is_the_honest_run(method: str, tmp_path: Path) -> None:
    """What an attack changes is the report alone; tensors are read back to the bit up to one rounding."""
    own = (f"method={method}", *TINY[method])
    honest = run_here(tiny_config(*own), tmp_path / "honest")
    same = run_here(attacked("scaling", 1.0, *own), tmp_path / "same")
    if load_method(method).commits == "tensors":
        assert same["final_loss"] == pytest.approx(honest["final_loss"], abs=1e-5)
    else:
        assert same["weights_sha256"] == honest["weights_sha256"]


@pytest.mark.parametrize(
    "task", [name if name == "multiple_choice" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_every_task_goes_on_under_attack(task: str, tmp_path: Path) -> None:
    own = (*_of(task, tmp_path), *AGGREGATIONS["median"], "zo.lr=1e-3")
    summary = run_here(attacked("sign_flip", 3.0, *own), tmp_path / "run")
    assert summary["status"] == "finished"
    assert replay_run(tmp_path / "run", None, None, None).confirmed


@pytest.mark.parametrize("kind", [pytest.param(name, marks=pytest.mark.slow) for name in attack_names()])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_attack_ends_a_run(kind: str, aggregation: str, tmp_path: Path) -> None:
    settings = attacked(kind, 3e38 if kind == "constant" else 100.0, *AGGREGATIONS[aggregation], "zo.lr=1e-3")
    summary = run_here(settings, tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["clients_rejected"] == (3 if kind in ("constant", "not_finite") else 0)
    assert replay_run(tmp_path / "run", None, None, None).confirmed


@pytest.mark.parametrize(
    "aggregation", [name if name == "median" else pytest.param(name, marks=pytest.mark.slow) for name in AGGREGATIONS]
)
def test_resumed_in_the_middle_of_an_attack(aggregation: str, tmp_path: Path) -> None:
    """With a client left out again and again: stopped after the first round that leaves it out."""
    settings = attacked(
        "sign_flip", 300.0, *AGGREGATIONS[aggregation], "zo.lr=3e-4", "rounds=7", "zo.directions=4", "eval.rows=16",
        "federation.snapshot_every=2",
    )  # fmt: skip
    straight = run_here(settings, tmp_path / "straight")
    rejected = [sorted(record.rejected) for record in records_of(RunDir(tmp_path / "straight").metrics, Round)]
    assert rejected == [[], [], [], *[[2]] * 4]
    resumed = run_here(settings, stopped_after(4, settings, tmp_path / "stopped"))
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    again = [sorted(record.rejected) for record in records_of(RunDir(tmp_path / "stopped").metrics, Round)]
    assert again == rejected


def noted(settings: ExperimentConfig, path: Path, *backend: Any) -> tuple[dict[str, Any], list[str]]:
    """Summary, and the notes about blocks that stay."""
    notes: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "note" and "as before" in event["text"]:
            notes.append(event["text"])

    return run_here(settings, path, *backend, emit=emit), notes


def test_a_round_with_too_few_reports_moves_no_block_and_says_so(tmp_path: Path) -> None:
    """Two of four clients do not answer: the median of two others could be a hostile one's."""
    missing = hostile(0, None, gone, hostile(2, None, gone))
    summary, notes = noted(tiny_config(*AGGREGATIONS["median"]), tmp_path / "run", missing)
    assert (summary["status"], summary["distance"]) == ("finished", 0.0)
    assert len(notes) == 3
    assert "stay as before: fewer than 3 reports, of which median withstands 1 (federation.byzantine)" in notes[0]


@pytest.mark.parametrize("method", ["zorba", pytest.param("decomfl", marks=pytest.mark.slow)])
def test_hostile_clients_that_are_refused_cannot_hold_a_block_up(method: str, tmp_path: Path) -> None:
    """Two of four report NaN: they are known, and no unknown one is feared beside them."""
    own = (
        AGGREGATIONS["median"]
        if method == "zorba"
        else ("federation.aggregate=median", "method=decomfl", *TINY[method])
    )
    settings = tiny_config(*own, "adversaries=[{clients: [0, 2], kind: not_finite}]")
    summary, notes = noted(settings, tmp_path / "run")
    assert notes == []
    assert summary["distance"] > 0
    assert replay_run(tmp_path / "run", None, None, None).confirmed


def test_the_header_says_how_scalars_are_aggregated(tmp_path: Path) -> None:
    """A program that does not know the section refuses the ledger, and a replay needs no settings."""
    run_here(tiny_config(*AGGREGATIONS["krum"]), tmp_path / "run")
    section = read_ledger(tmp_path / "run" / "ledger.zl").header.sections["aggregate"]
    assert section.required
    assert section.content == b"\x01\x00\x00\x00krum"
