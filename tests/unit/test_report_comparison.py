"""A comparison as it is read and shown: quantiles, what is told of rates and missing runs, the page's words."""

from pathlib import Path

import pytest

from tests.support.fake_comparison import LADDER, write_fake_comparison
from tests.support.fake_family import edit
from tests.support.report_page import ReportPage
from zorba_ray.report import write_report
from zorba_ray.report.comparison import load_comparison
from zorba_ray.report.comparison_page import (
    comparison_page,
    comparison_warnings,
    learning_table,
    passes_of_client,
    rates_table,
)
from zorba_ray.report.curves import BYTES, Line, curves_plot, mean_curve
from zorba_ray.report.measures import cpu_seconds, final_loss

BEYOND = "The best rate may be beyond those that were tried"


def test_a_rate_inside_its_ladder_and_a_single_one_give_no_warning(tmp_path: Path) -> None:
    record = load_comparison(write_fake_comparison(tmp_path / "c", tried={"mezo": {}}))
    assert record.entry.chosen["zorba"] == 0.003
    assert comparison_warnings(record) == []


@pytest.mark.parametrize(
    ("ladder", "told"),
    [
        ({"0.001": 0.5, "0.003": 0.6}, f"{BEYOND}: zorba, 0.001 (lowest of 2)."),
        ({"1e-05": 0.7, "0.3": 0.6}, f"{BEYOND}: zorba, 0.3 (highest of 2)."),
        # What lies above was tried, and did not end.
        ({"0.001": 0.7, "0.003": 0.6, "0.009": None}, None),
        ({"0.001": 0.7, "0.003": None}, f"{BEYOND}: zorba, 0.001 (lowest of 2)."),
        ({"0.001": None, "0.003": None}, "No run that tried a rate ended; used is: zorba, 0.001 (lowest of 2)."),
        ({"0.001": 0.7}, None),
    ],
)
def test_rates_at_an_end(ladder: dict[str, float | None], told: str | None, tmp_path: Path) -> None:
    record = load_comparison(write_fake_comparison(tmp_path / "c", methods=("zorba",), tried={"zorba": ladder}))
    assert comparison_warnings(record) == ([told] if told else [])


def test_a_rate_that_was_given_is_shown_as_such(tmp_path: Path) -> None:
    record = load_comparison(write_fake_comparison(tmp_path / "c", methods=("zorba", "mezo"), tried={"mezo": {}}))
    rows = [row for row in rates_table(record).texts() if row[0] == "mezo"]
    assert rows == [["mezo", f"{record.entry.chosen['mezo']:g}", "–", "given"]]


def test_a_rate_of_many_digits_is_known_as_chosen(tmp_path: Path) -> None:
    """compare.json spells tried rates with six digits, and the chosen one with all."""
    path = write_fake_comparison(tmp_path / "c", methods=("zorba",), tried={"zorba": {"0.0123457": 0.5, "0.02": 0.6}})
    text = (
        (path / "compare.json")
        .read_text()
        .replace('"chosen": {"zorba": 0.0123457}', '"chosen": {"zorba": 0.012345678}')
    )
    (path / "compare.json").write_text(text)
    record = load_comparison(path)
    assert record.entry.chosen == {"zorba": 0.012345678}
    assert comparison_warnings(record) == [f"{BEYOND}: zorba, 0.0123457 (lowest of 2)."]
    assert [row[3] for row in rates_table(record).texts()] == ["chosen", ""]


def test_runs_in_no_mean(tmp_path: Path) -> None:
    endings = {"decomfl/seed-2": "diverged", "mezo/seed-1": "failed", "mezo/seed-3": "interrupted"}
    todo = ("zorba/seed-3", "fedit/seed-1", "fedit/seed-2", "fedit/seed-3")
    methods = ("zorba", "decomfl", "mezo", "fedit")
    path = write_fake_comparison(tmp_path / "c", methods=methods, endings=endings, todo=todo)
    record = load_comparison(path)
    assert comparison_warnings(record) == [
        "No run yet: zorba, seed 3; fedit, seeds 1, 2, 3.",
        "Not in any mean: decomfl, seed 2 (diverged after round 1); mezo, seed 1 (failed after round 1); mezo, seed 3 "
        "(interrupted after round 1).",
    ]
    page = ReportPage(write_report([path], tmp_path / "page.html"))
    assert all(line in page.text for line in comparison_warnings(record))
    assert sum(attributes.get("class") == "warning" for _, attributes in page.tags) == 1, "one banner"


def test_a_seed_that_diverged_flatters_nothing(tmp_path: Path) -> None:
    """Zorba's last seed, the worst one, is gone: its mean is the lowest, and no lead."""
    path = write_fake_comparison(tmp_path / "c", methods=("zorba", "mezo"), endings={"zorba/seed-3": "diverged"})
    record = load_comparison(path)
    zorba, mezo = (result.over(final_loss) for result in record.results)
    assert zorba is not None
    assert mezo is not None
    assert zorba.mean < mezo.mean
    assert comparison_page(record).tiles[0].value == "mezo"


def test_time_of_a_run_that_was_taken_up_again_is_not_known(tmp_path: Path) -> None:
    path = write_fake_comparison(tmp_path / "c", methods=("zorba",), seeds=2)
    edit(path / "zorba" / "seed-2" / "summary.json", lambda tree: tree.update(resumed_after_round=3, cpu_s=0.1))
    (result,) = load_comparison(path).results
    known = result.over(cpu_seconds)
    assert known is not None
    assert (known.mean, known.count) == (12.0, 1)


def test_curves_are_means_at_the_rounds_that_all_seeds_know(tmp_path: Path) -> None:
    """Straight from 1 to 1/2, at four passes a round; central mezo sends nothing and has no place among bytes."""
    record = load_comparison(write_fake_comparison(tmp_path / "c", methods=("zorba", "mezo")))
    zorba, mezo = (Line(result.method, list(result.runs.values())) for result in record.results)
    passes = passes_of_client(record)
    points = mean_curve(zorba, "loss", passes)
    assert points[:, 0].tolist() == [0, 4, 8, 12, 16, 20, 24]
    # mezo's one client makes the passes of two: on the same axis, it ends where zorba does.
    assert mean_curve(mezo, "loss", passes)[-1, 0] == 24
    assert points[:, 1] == pytest.approx([1 - number / 12 for number in range(7)])
    assert mean_curve(zorba, "loss", BYTES)[:, 0] == pytest.approx([50 * number for number in range(7)])
    assert curves_plot("T", [mezo], cost=BYTES) is None
    assert len(mean_curve(Line("none", []), "loss", passes)) == 0


def test_the_page_counts_in_words(tmp_path: Path) -> None:
    page = ReportPage(write_report([write_fake_comparison(tmp_path / "a")], tmp_path / "a.html"))
    assert "8 methods on the same data, batches and 3 seeds." in page.text
    assert page.values() == {
        "Lowest final validation loss": "zorba", "Runs finished": "24 of 24", "Forward passes of a client": "24",
    }  # fmt: skip
    assert "Test accuracy before round 1 (zero-shot): 50.0 %." in page.text
    assert "Student's t over the seeds" in page.text
    assert "adamw, mezo: one client has all data; its passes are divided by the number of clients." in page.text
    [rates] = [rows for caption, rows in page.tables.items() if caption == "Rates tried"]
    assert len(rates) == 1 + 8 * len(LADDER)
    one = write_fake_comparison(tmp_path / "b", methods=("zorba",), seeds=1)
    page = ReportPage(write_report([one], tmp_path / "b.html"))
    assert "1 method on the same data, batches and 1 seed. With one or two seeds there is no interval" in page.text
    assert "1 seeds" not in page.text
    assert "±" not in page.text


def test_two_seeds_stand_as_they_are(tmp_path: Path) -> None:
    """An interval from two values is wider than any accuracy is large."""
    path = write_fake_comparison(tmp_path / "c", methods=("zorba", "mezo"), seeds=2)
    rows = learning_table(load_comparison(path)).texts()
    assert [row[3] for row in rows] == ["0.4844, 0.5156", "0.5312, 0.5938"]
    assert [row[7] for row in rows] == ["73.4 %, 76.6 %", "70.3 %, 73.4 %"]
    page = ReportPage(write_report([path], tmp_path / "c.html"))
    assert "With one or two seeds there is no interval: the values are shown." in page.text
    assert "±" not in page.text


def test_every_seed_is_drawn(tmp_path: Path) -> None:
    path = write_fake_comparison(tmp_path / "c", methods=("zorba",), seeds=3)
    (result,) = load_comparison(path).results
    lines = [Line("zorba", list(result.runs.values()))]
    shown, alone = curves_plot("T", lines), curves_plot("T", [Line("zorba", [lines[0].runs[0]])])
    assert shown is not None
    assert alone is not None
    thin = "stroke-width:0.7"
    assert (shown.svg.replace(" ", "").count(thin), alone.svg.replace(" ", "").count(thin)) == (3, 0)
