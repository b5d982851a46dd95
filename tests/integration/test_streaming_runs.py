"""Whole runs whose blocks leave the accelerator: the SHA-256 of the resident run, in one process and on Ray."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import run_here, stopped_and_resumed_on_ray, tiny_config
from zorba_ray.errors import BudgetExceeded
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.report import write_report

ALL_BLOCKS = ("zo.scope=all", "zo.lr=1e-4", "rounds=4")
HOST = ("memory.frozen=host", "memory.master=host")


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Summary of the sequential run with everything on the accelerator."""
    return run_here(tiny_config(*ALL_BLOCKS), tmp_path_factory.mktemp("resident") / "run")


@pytest.mark.parametrize(
    "settings", [HOST, ("memory.frozen=host",), ("memory.master=host", "federation.seeds=per_client")]
)
def test_a_streamed_run_is_the_resident_one(
    resident: dict[str, Any], tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """Losses too: an evaluation sees all commits."""
    summary = run_here(tiny_config(*ALL_BLOCKS, *settings), tmp_path / "run")
    assert summary["weights_sha256"] == resident["weights_sha256"]
    for figure in ("final_loss", "test_loss", "test_accuracy", "distance"):
        assert summary[figure] == resident[figure], figure


def test_shared_seeds_one_client_at_a_time(tmp_path: Path) -> None:
    """Resident clients that share a direction go through the model together, streamed ones alone."""
    found = [
        run_here(tiny_config("federation.seeds=shared", *settings), tmp_path / name)["weights_sha256"]
        for name, settings in (("resident", ()), ("streamed", HOST))
    ]
    assert found[0] == found[1]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_streamed_on_ray_with_two_workers(resident: dict[str, Any], tmp_path: Path) -> None:
    summary = stopped_and_resumed_on_ray(tmp_path / "run", *ALL_BLOCKS, *HOST)
    assert summary["weights_sha256"] == resident["weights_sha256"]
    assert replay_run(tmp_path / "run", None, None, None).digest == resident["weights_sha256"]


def test_auto_places_each_class_by_its_budget(tmp_path: Path) -> None:
    """Two classes of a run, one resident and one streamed; their budgets are in allocation, summary and report."""
    at_once = ("memory.flops_per_s=1", "memory.host_bytes_per_s=1")  # copying breaks even at one token
    auto = (*ALL_BLOCKS, "rounds=1", "memory.frozen=auto", "memory.master=auto", *at_once)
    memory = prepare(tiny_config(*auto)).memory
    blocks = frozenset(range(len(memory.of(None).active_extra)))
    streamed = memory.of(1)
    small = streamed.bytes_of(frozenset({0, 1}))
    large = memory.of(None).bytes_of(blocks)
    fleet = f"federation.fleet=[{{name: s, count: 2, vram: {small}}}, {{name: l, count: 2, vram: {large}}}]"
    config = tiny_config(*auto, fleet)
    summary = run_here(config, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "allocation.json").read_text(encoding="utf-8"))
    assert [(c["frozen"], c["master"]) for c in record["clients"]] == [("host", "host")] * 2 + [
        ("device", "device")
    ] * 2
    assert all(client["bytes"] <= client["budget_bytes"] for client in record["clients"])
    assert len(record["clients"][0]["blocks"]) == 2
    assert len(record["clients"][3]["blocks"]) == len(blocks)
    first, second = summary["budgets"]
    assert (first["class"], first["frozen"], first["share"]) == ("s", "host", 1.0)
    assert (second["class"], second["frozen"], second["source"]) == ("l", "device", "modelled")
    assert replay_run(tmp_path / "run", None, None, None).confirmed
    page = write_report([tmp_path / "run"], tmp_path / "report.html").read_text(encoding="utf-8")
    table = page[page.index("VRAM peak against budget") :]
    for cell in ("2 × s", "frozen host, master host", "2 × l", "frozen device, master device", "modelled", "100.0 %"):
        assert cell in table, cell


def test_a_fleet_over_its_budget_is_refused_before_the_first_round(tmp_path: Path) -> None:
    """Where activation costs nothing, the allocation has nothing to solve, and the base alone is too much."""
    auto = ("memory.frozen=device", "memory.master=auto", "memory.compute_dtype=bf16")
    config = tiny_config(*auto, "federation.fleet=[{name: s, count: 4, vram: 1MB}]")
    with pytest.raises(
        BudgetExceeded, match=r"client 0 \(class s\) would hold .* over its budget of .*largest part is"
    ):
        run_here(config, tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.zl").exists()
