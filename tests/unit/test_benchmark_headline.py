"""The headline: a small comparison from its task to its rows and figures, pairs of rows, frames, and its fleets."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from analysis import headline as drawn
from benchmarks import headline
from benchmarks.headline import bytes_sent, paired, plan, quality
from benchmarks.headline.tasks import FIRST_ORDER, FORWARD_ONLY, TASKS, Task
from tests.unit.test_shipped_configs import shape
from zorba_ray.config import load_config, method_names
from zorba_ray.config.federation import FleetClass
from zorba_ray.memory import Workload, placed_by_budget
from zorba_ray.models import STREAMED

TINY = Task(
    "tiny", "demo", "", ("zorba", "decomfl", "fedavg"),
    rates={"zorba": (0.001,), "decomfl": (0.0005, 0.001)},
    overrides=("federation.backend=sequential", "rounds=3", "eval.every=3", "eval.rows=48", "data.train_rows=128",
               "tracking.wandb=disabled"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZORBA_HEADLINE", str(tmp_path / "headline"))
    monkeypatch.delenv("ZORBA_SHARED", raising=False)


def test_a_comparison_from_its_task_to_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {row.row: row for row in quality.rows(TINY, quick=False)}
    assert [made[f"tiny: clients that fit, {name}"].value for name in TINY.methods] == [8, 8, 0]
    assert made["tiny: clients that fit, zorba"].met is True
    assert "too many" in made["tiny: clients that fit, fedavg"].details["laptop"]
    accuracy = made["tiny: zorba, test accuracy"]
    assert accuracy.min < accuracy.value < accuracy.max
    assert math.isnan(made["tiny: fedavg"].value)
    assert made["tiny: fedavg"].device == made["tiny: zorba minus fedavg"].device == "no client fits"
    run = TINY.path / "zorba" / "seed-1"
    answers = json.loads((run / "test_rows.json").read_text())
    assert sum(answers) / len(answers) == pytest.approx(accuracy.value)  # the run's own figure, row by row
    gap = made["tiny: zorba minus decomfl"]
    assert gap.value == pytest.approx(100 * (accuracy.value - made["tiny: decomfl, test accuracy"].value))
    again = {row.row: row for row in quality.rows(TINY, quick=True)}
    assert {name: row.value for name, row in again.items() if row.value == row.value} == {
        name: row.value for name, row in made.items() if row.value == row.value
    }
    page, other = tmp_path / "page.md", "<!-- headline other -->\nkept\n<!-- end -->\n"
    page.write_text(
        f"a\n<!-- headline tiny short -->\n<!-- end -->\nb\n<!-- headline tiny -->\nold\n<!-- end -->\n{other}"
    )
    command = [str(TINY.path), "-o", str(tmp_path / "out" / "fig"), "--into", str(page)]
    assert drawn.main(command) == drawn.main(command) == 0
    short, long, kept = page.read_text().split("<!-- headline ")[1:]
    assert "| Method | Fit | Largest | Up | Down | Test accuracy |" in short
    assert "Command" not in short
    assert "Command: `" in long
    assert "old" not in long
    assert kept in other
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".tex", ".md", ".pdf", ".png"}
    page.write_text(other)
    assert drawn.main(command) != 0
    text = (tmp_path / "out" / "fig.md").read_text()
    assert "| fedavg | 0 of 8 | – |" in text
    assert "Command: `" in text
    shown = capsys.readouterr().out
    assert "no client fits" in shown
    assert "0 of 8" in shown


def test_what_is_not_there_is_told() -> None:
    for name in ("plan", *(task.name for task in TASKS)):
        rows = headline.rows(True, name)
        assert all(math.isnan(row.value) for row in rows)
        assert rows[-1].device.startswith("not ")


def test_pairs_of_rows() -> None:
    """Every row differs by the same: no interval is known. A third of the rows differ: it holds the mean."""
    one, other = np.ones(90), np.zeros(90)
    assert paired.interval(np.stack([one - other])) == (1.0, None)
    gaps = np.where(np.arange(90) % 3 == 0, 1.0, 0.0)
    mean, span = paired.interval(gaps[None])
    assert span is not None
    assert span[0] < mean == pytest.approx(1 / 3)
    assert span[0] == pytest.approx(1 / 3 - 1.96 * (2 / 9 / 90) ** 0.5, abs=0.02)
    # Of three seeds with means 0, 1/3 and 2/3: Student's t with two degrees of freedom.
    mean, span = paired.interval(np.stack([0 * gaps, gaps, 2 * gaps]))
    assert span == pytest.approx((1 / 3 - 4.303 / 3 / 3**0.5, 1 / 3 + 4.303 / 3 / 3**0.5), rel=1e-3)


def test_bytes_of_frames() -> None:
    """Adapters of rank 16 beside the query projection, 576 wide in and out, of 30 blocks."""
    rows = {row.row.rpartition(": bytes of a client and round, ")[2]: row for row in bytes_sent.rows()}
    assert all(row.met is not False for row in rows.values())
    assert rows["fedit, up"].value == pytest.approx(4 * 30 * 16 * (576 + 576), rel=1e-3)
    assert rows["zorba, up"].value <= 64


def test_every_method_has_its_place_and_rates() -> None:
    assert {"zorba", *FORWARD_ONLY, *FIRST_ORDER, "adamw"} == set(method_names())
    for task in TASKS:
        assert task.rates.keys() >= {name for name in task.methods if task.config != "headline_trec"}
        assert all(len(ladder) == 3 for ladder in task.rates.values())


@pytest.mark.parametrize("config", ["headline_sst2", "headline_agnews", "headline_alpaca"])
def test_small_machines_stream_and_the_others_hold_everything(config: str) -> None:
    settings = load_config(Task("", config, "").file)
    data, words = settings.data, settings.data.label_words
    manifest, hidden = shape(settings.model.path, settings.model.head)
    labels, positions = (len(words), 1) if words else (49_152, data.max_length)
    work = Workload(data.batch_size, data.max_length, hidden, labels, positions=positions)
    memory = placed_by_budget(manifest, settings.memory, settings.zo.fixed_scope, work)
    for kind in settings.federation.fleet or ():
        assert isinstance(kind, FleetClass)
        where = memory.placement(kind.vram)
        assert (where.frozen == STREAMED.frozen) == (kind.name == "small")
        assert memory.room(kind.vram) >= (settings.allocation.max_blocks or 0)


def test_the_plan_multiplies_what_it_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """zorba: one run; decomfl: two short tries and a run. 48 rows at 2 ms, start 10 s, a round 4 s."""
    monkeypatch.setattr(plan, "_timed", lambda config: (10.0, 4.0, 0.002))
    asked = TINY.plan()
    assert asked is not None
    assert plan.seconds_of(asked, "zorba") == pytest.approx(10 + 4 * 48 * 0.002 + 3 * 4)
    rounds = 4  # of decomfl, six passes each, in zorba's 27
    assert plan.seconds_of(asked, "decomfl") == pytest.approx(3 * (10 + 4 * 48 * 0.002) + 4 * rounds * 1.5)
