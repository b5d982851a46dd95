"""Peak against budget: rows of a summary, and a GPU's cap and measurement with torch's functions in its place."""

from typing import Any

import msgspec
import pytest
import torch

from tests.support.tiny_models import tiny_loaded
from zorba_ray.artifacts.allocation import AllocationRecord, AssignedClient, PlacementBytes
from zorba_ray.config import MemoryConfig, config_from_tree
from zorba_ray.errors import BudgetExceeded, ClusterError, ConfigError
from zorba_ray.experiment.summary import budgets as budget_rows
from zorba_ray.federation.accelerator import choose_accelerator
from zorba_ray.federation.client_accelerator import GpuBudgets
from zorba_ray.memory import Workload, placed_by_budget
from zorba_ray.models import Replica

PARTS = {"stem": 10, "frozen": 0, "stream buffers": 30}


def allocation() -> AllocationRecord:
    """Three clients of two classes; what budgets do not rest on is left at nothing."""
    figures = ((0, "large", 100, 200), (1, "large", 80, 200), (2, "small", 60, 64))
    return AllocationRecord(
        clients=tuple(
            AssignedClient(
                client=client,
                kind=kind,
                examples=1,
                budget_bytes=budget,
                bytes=held,
                blocks=(),
                frozen="host",
                master="device",
            )
            for client, kind, held, budget in figures
        ),
        placements=(PlacementBytes(frozen="host", master="device", parts=PARTS, active_extra_bytes=(20, 20)),),
        bytes_source="modelled",
        blocks=2,
        epsilon=0.0,
        f1=1.0,
        f2_bytes=240,
        worst_share=0.9,
        gap=None,
        solver="",
        steps=(),
        accelerator="simulated",
    )


def test_a_row_is_the_fullest_client_of_a_class() -> None:
    large, small = budget_rows(allocation(), {})
    assert (large.kind, large.clients, large.client, large.peak_bytes) == ("large", 2, 0, 100)
    assert (large.share, large.source) == (0.5, "modelled")
    assert (large.largest_part, large.largest_part_bytes) == ("active blocks", 60)
    assert (small.peak_bytes, small.budget_bytes, small.largest_part) == (60, 64, "stream buffers")


def test_what_was_measured_takes_the_place_of_what_was_modelled() -> None:
    large, small = budget_rows(allocation(), {1: 190})
    assert (large.client, large.peak_bytes, large.source, large.share) == (1, 190, "measured", 0.95)
    assert small.source == "modelled"


def test_without_budgets_the_fullest_client_is_the_one_with_the_most_bytes() -> None:
    record = allocation()
    free = tuple(msgspec.structs.replace(client, budget_bytes=None, kind="unlimited") for client in record.clients)
    (row,) = budget_rows(msgspec.structs.replace(record, clients=free), {})
    assert (row.client, row.clients, row.peak_bytes, row.share) == (0, 3, 100, None)


class FakeCuda:
    """A GPU of 1,000 bytes that reports the peak it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak = 0
        self.cap = 0.95
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: self.cap)
        properties = type("Properties", (), {"total_memory": 1000})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: setattr(self, "peak", 0))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.peak)
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda share, device: setattr(self, "cap", share)
        )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


@pytest.fixture
def budgets(gpu: FakeCuda) -> GpuBudgets:
    manifest = Replica(tiny_loaded("opt")).manifest
    memory = placed_by_budget(manifest, MemoryConfig(), "all", Workload(2, 4, 32, 3, 1))
    return GpuBudgets(memory)


def test_a_gpu_is_capped_at_the_client_at_hand_and_its_peak_kept(gpu: FakeCuda, budgets: GpuBudgets) -> None:
    with budgets.serving(0, frozenset({1}), 400):
        assert gpu.cap == 0.4
        gpu.peak = 390
    assert gpu.cap == 0.95, "an evaluation is no client's"
    with budgets.serving(1, frozenset({1}), None):
        assert gpu.cap == 0.95
        gpu.peak = 900
    with budgets.serving(0, frozenset({1}), 400):
        gpu.peak = 100
    assert budgets.peaks == {0: 390, 1: 900}


def test_a_measured_peak_over_the_budget_is_an_error(gpu: FakeCuda, budgets: GpuBudgets) -> None:
    message = (
        r"client 0 needs more than its budget of 400 bytes: 401 bytes were allocated \(measured\).*largest part is"
    )
    with pytest.raises(BudgetExceeded, match=message), budgets.serving(0, frozenset({1}), 400):
        gpu.peak = 401
    assert budgets.peaks == {0: 401}


def test_out_of_memory_names_client_and_part(gpu: FakeCuda, budgets: GpuBudgets) -> None:
    with (
        pytest.raises(
            BudgetExceeded, match=r"client 1 needs more than 1,000 bytes of the GPU: CUDA out of memory.*largest part"
        ),
        budgets.serving(1, frozenset({1}), None),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")


def test_real_gpus_serve_every_memory_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """And `auto` leaves a fleet whose budgets no real GPU can keep to simulated ones."""

    def chosen(budget: str | None, gpus: Any = "auto", found: int = 1) -> str:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
        kinds = None if budget is None else [{"name": "only", "count": 4, "vram": budget}]
        federation = {"clients": 4, "fleet": kinds, "gpus": gpus}
        return choose_accelerator(config_from_tree({"memory": {"frozen": "host"}, "federation": federation}, "test"))

    assert chosen(None) == chosen("8GiB") == chosen("8GiB", 1) == "cuda"
    assert chosen("6MB") == chosen("8GiB", "simulated") == chosen("8GiB", found=0) == "simulated"
    with pytest.raises(ConfigError, match=r"smallest budget of federation\.fleet is .*set federation\.gpus=simulated"):
        chosen("6MB", 1)
    with pytest.raises(ClusterError, match="this machine has 0"):
        chosen("8GiB", 1, found=0)
