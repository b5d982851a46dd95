"""Runs whose rows begin alike: what stands in the ledger, resumes of either kind, memory, batches by tokens."""

from pathlib import Path

import msgspec
import pytest

import zorba_ray.experiment.build as build
from tests.support.tiny_run import ALIKE, batches_of, run_here, tiny_config, whole_rows
from zorba_ray.experiment.asked import evaluate_model
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.client_memory import shared_tokens
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger

SMALL = ("data.max_length=56", "data.batch_size=8", "eval.rows=16", "rounds=1", "zo.schedule=constant")
LONG = (*SMALL, *ALIKE)


def test_what_rows_share_is_a_fact_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    run = tmp_path / "run"
    run_here(tiny_config(*LONG), run, emit=lambda event: notes.append(str(event.get("text"))))
    header = read_ledger(run / "ledger.zl").header
    shared = shared_tokens(header.sections)
    assert shared >= 32
    assert f"all training rows begin with the same {shared} tokens: a batch computes them once" in notes
    on = run_here(tiny_config(*LONG, "rounds=2"), run)
    straight = run_here(tiny_config(*LONG, "rounds=2"), tmp_path / "straight")
    assert on["weights_sha256"] == straight["weights_sha256"]
    assert replay_run(run, None, None, None).confirmed
    assert evaluate_model(str(run)).recorded() == {"validation": True, "test": True}
    # A run that began with whole rows goes on with them.
    old = tmp_path / "old"
    with monkeypatch.context() as before:
        before.setattr(build, "settled_rows", whole_rows)
        run_here(tiny_config(*LONG), old)
        plain = run_here(tiny_config(*LONG, "rounds=2"), tmp_path / "plain")
    resumed = run_here(tiny_config(*LONG, "rounds=2"), old)
    assert read_ledger(old / "ledger.zl").header.sections == {}
    assert resumed["weights_sha256"] == plain["weights_sha256"]
    assert resumed["evaluations"]["final"]["loss"] == pytest.approx(straight["evaluations"]["final"]["loss"], abs=1e-4)


def test_memory_and_batches_count_what_is_computed() -> None:
    setup = prepare(tiny_config(*LONG, "data.batch_tokens=96"))
    shared = setup.shards.table.shared
    assert (shared, setup.validation.shared, setup.test.shared) == (shared_tokens(setup.header.sections),) * 3
    most = 0
    for client in range(4):
        (batch,) = batches_of(setup, client)
        rows, length = batch.ids_BT.shape
        assert batch.shared == shared
        assert shared + rows * (length - shared) <= 96
        most = max(most, batch.ids_BT.numel())
    assert most > 96, "more fits in than whole rows would need"
    packed, plain = (prepare(tiny_config(*each)) for each in (LONG, SMALL))
    assert packed.memory.of(None).parts["activations"] < plain.memory.of(None).parts["activations"]
    assert list(plain.header.sections) == ["row_layout"]
    assert plain.prefix_note == ""


def test_a_ledger_that_says_otherwise_than_the_rows(tmp_path: Path) -> None:
    """As where training rows were exchanged: the header does not fit."""
    setup = prepare(tiny_config(*LONG))
    sections = setup.header.sections | {
        "shared_prefix": msgspec.structs.replace(setup.header.sections["shared_prefix"], content=b"\x63\0\0\0")
    }
    begun = msgspec.structs.replace(setup.header, sections=sections)
    assert prepare(tiny_config(*LONG), begun=begun).header.sections == setup.header.sections != sections
