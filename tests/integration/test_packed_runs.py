"""Whole runs whose frozen blocks are packed: one SHA-256 of θ, wherever they are and whoever computes."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import run_here, stopped_and_resumed_on_ray, tiny_config
from zorba_ray.artifacts import Run
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.report.run_tables import budgets_table

SETTINGS = ("zo.scope=all", "zo.lr=1e-4", "rounds=4", "allocation.max_blocks=2")
NF4 = (*SETTINGS, "memory.frozen_format=nf4")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Summary of the sequential run with everything on the accelerator, frozen blocks in nf4."""
    return run_here(tiny_config(*NF4), tmp_path_factory.mktemp("packed") / "run")


def test_where_packed_blocks_are_kept_changes_nothing(packed: dict[str, Any], tmp_path: Path) -> None:
    for name, where in (("streamed", "host"), ("chosen", "auto")):
        summary = run_here(tiny_config(*NF4, f"memory.frozen={where}", "memory.master=host"), tmp_path / name)
        assert summary["weights_sha256"] == packed["weights_sha256"]
        assert summary["final_loss"] == packed["final_loss"]


def test_every_format_is_another_run(packed: dict[str, Any], tmp_path: Path) -> None:
    """But all begin at the same θ, which is what is evaluated."""
    others = [
        run_here(tiny_config(*SETTINGS, f"memory.frozen_format={format}"), tmp_path / format)
        for format in ("compute", "int8")
    ]
    assert len({each["weights_sha256"] for each in (packed, *others)}) == 3
    assert len({each["evaluations"]["start"]["loss"] for each in (packed, *others)}) == 1


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_packed_on_ray_with_two_workers(packed: dict[str, Any], tmp_path: Path) -> None:
    summary = stopped_and_resumed_on_ray(tmp_path / "run", *NF4)
    assert summary["weights_sha256"] == packed["weights_sha256"]
    assert replay_run(tmp_path / "run", None, None, None).digest == packed["weights_sha256"]


def test_directions_per_example_beside_packed_blocks(packed: dict[str, Any], tmp_path: Path) -> None:
    examples = (*NF4, "zo.directions_per=example", "zo.directions=2")
    resident = run_here(tiny_config(*examples), tmp_path / "resident")
    streamed = run_here(tiny_config(*examples, "memory.frozen=host", "memory.master=host"), tmp_path / "streamed")
    assert resident["weights_sha256"] != packed["weights_sha256"]
    assert streamed["weights_sha256"] == resident["weights_sha256"]
    assert replay_run(tmp_path / "streamed", None, None, None).digest == resident["weights_sha256"]


def test_a_packed_stem_is_rounded_at_the_start_and_in_a_replay(packed: dict[str, Any], tmp_path: Path) -> None:
    summary = run_here(tiny_config(*NF4, "memory.stem_format=int8"), tmp_path / "run")
    assert summary["evaluations"]["start"]["loss"] != packed["evaluations"]["start"]["loss"]
    assert replay_run(tmp_path / "run", None, None, None).digest == summary["weights_sha256"]


def test_auto_gives_each_class_the_format_that_its_budget_allows(tmp_path: Path) -> None:
    """Large clients keep every block in the compute dtype, small ones pack what they freeze; the records tell both."""
    auto = (*SETTINGS[:2], "rounds=1", "memory.frozen_format=auto", "memory.master=host")
    memory = prepare(tiny_config(*auto)).memory
    nf4 = memory.changed({"frozen_format": "nf4"}).of(None)
    large, small = memory.of(None).bytes_of(frozenset(range(6))), nf4.bytes_of(frozenset({0, 1}))
    fleet = f"federation.fleet=[{{name: s, count: 2, vram: {small}}}, {{name: l, count: 2, vram: {large}}}]"
    run_here(tiny_config(*auto, fleet), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert [client.format for client in run.allocation.clients] == ["nf4", "nf4", "compute", "compute"]
    assert run.summary is not None
    resident = next(budget for budget in run.summary.budgets if budget.kind == "l")
    assert (resident.largest_part, resident.largest_part_bytes) == ("frozen", memory.of(None).parts["frozen"])
    shown = [cell for row in budgets_table(run.summary.budgets).texts() for cell in row]
    assert {"frozen device in nf4, master host", "frozen device, master host"} <= set(shown)


@pytest.mark.parametrize("method", ["fedit", "fedmezo"])
def test_adapters_on_a_packed_base(method: str, tmp_path: Path) -> None:
    """The base is rounded once, and never moves: the run is that of a rounded model."""
    adapters = (f"method={method}", "model.lora.rank=2", "zo.scope=lora", "zo.lr=1e-6", "rounds=2")
    plain, packed = (
        run_here(tiny_config(*adapters, f"memory.frozen_format={format}"), tmp_path / format)
        for format in ("compute", "int8")
    )
    assert packed["weights_sha256"] != plain["weights_sha256"]
    assert replay_run(tmp_path / "int8", None, None, None).digest == packed["weights_sha256"]
