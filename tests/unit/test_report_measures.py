"""Forward passes, time and memory of a run against numbers worked out by hand, and against the engine."""

from pathlib import Path

import pytest
from torch import nn

from tests.support.fake_family import edit, edit_records, write_member
from tests.support.tiny_models import tiny_batch, tiny_task_model
from zorba_ray.artifacts import Run
from zorba_ray.models import Perturbation
from zorba_ray.report.measures import (
    memory_label,
    seconds_per_round,
    vram_saved,
    whole_passes_per_round,
)


@pytest.mark.parametrize(
    ("pairs", "steps", "expected"),
    [
        # Of four blocks, client 0 first activates block 2 and client 1 block 1.
        (1, 1, ((2 + 2 * 2) / 4 + (1 + 2 * 3) / 4) / 2),
        (2, 1, ((2 + 4 * 2) / 4 + (1 + 4 * 3) / 4) / 2),
        (2, 3, 3 * ((2 + 4 * 2) / 4 + (1 + 4 * 3) / 4) / 2),
    ],
)
def test_forward_passes_by_hand(tmp_path: Path, pairs: int, steps: int, expected: float) -> None:
    run = Run(write_member(tmp_path / "a", settings={"zo.directions": pairs, "zo.local_steps": steps}))
    assert whole_passes_per_round(run) == expected


@pytest.mark.parametrize("active", [{0}, {2}, {1, 3}, {4}])
def test_forward_passes_are_those_of_the_engine(tmp_path: Path, active: set[int]) -> None:
    """Rows that go through the linear layers of five blocks, prefix and three pairs, over those of a full pass."""
    rows, pairs = 4, 3
    model, batch = tiny_task_model("llama"), tiny_batch("llama", rows, 6)
    passed: list[int] = []
    layers = [layer for block in model.loaded.blocks for layer in block.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(lambda layer, given, output: passed.append(len(output)))
    prepared = model.prepare(batch, frozenset(active))
    for direction in range(pairs):
        model.pair(prepared, Perturbation(1, direction, 1e-3, "rademacher"))
    path = write_member(tmp_path / "a", settings={"zo.directions": pairs, "zo.local_steps": 1}, blocks=[sorted(active)])
    edit(path / "allocation.json", lambda tree: tree.update(blocks=5))
    assert whole_passes_per_round(Run(path)) == sum(passed) / (rows * len(layers))


def test_a_round_recovered_without_its_time_leaves_it_unknown(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a", losses=(1, 1, 1, 1), accuracies=None)
    assert seconds_per_round(Run(path)) == 1.0
    edit_records(path, lambda record: record["round"] == 1 and record.pop("time", None))
    assert seconds_per_round(Run(path)) is None


def test_vram_saved_is_against_everything_active_on_every_client(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a")  # 1200 + 1100 of 2 × 1400
    run = Run(path)
    assert vram_saved(run) == pytest.approx(1 - 2300 / 2800, abs=1e-15)
    assert memory_label(run, run) == "modelled, simulated accelerator"
    edit(path / "allocation.json", lambda tree: tree.pop("bytes_all_active"))
    assert vram_saved(Run(path)) is None
