"""The page of a comparison: its tables, figures and links, whatever the names are."""

import json
from pathlib import Path

import pytest

from tests.support.fake_contest import METHODS, write_fake_contest
from tests.support.fake_run import write_fake_run
from tests.support.report_page import ReportPage
from zorba_ray.contest.records import read_contest
from zorba_ray.errors import RunDirError
from zorba_ray.report import write_report


@pytest.fixture
def page(tmp_path: Path) -> ReportPage:
    path = write_fake_contest(tmp_path / "c")
    return ReportPage(write_report([path], path / "compare.html"))


def test_tables(page: ReportPage) -> None:
    captions = list(page.tables)
    assert captions[:6] == [
        "What each method is given",
        "Validation and test",
        "Differences to zorba",
        "Rounds and forward passes to a loss",
        "Costs of a client",
        "Compared runs",
    ]
    for caption in captions[:2]:
        assert [row[0] for row in page.tables[caption][1:]] == list(METHODS)
    seeds = {row[0]: row[1] for row in page.tables["Validation and test"][1:]}
    assert (seeds["zorba"], seeds["fedkseed"]) == ("3", "2 of 3; diverged: seed 3 after round 7")
    costs = {row[0]: row for row in page.tables["Costs of a client"][1:]}
    assert costs["mezo"][1:3] == ["–", "–"]
    assert costs["zorba"][5].startswith("−")
    assert costs["fedavg"][5].startswith("+")
    passes = {row[0]: row[1:] for row in page.tables["Rounds and forward passes to a loss"][1:]}
    assert passes["mezo"][-1] == "never"
    assert passes["zorba"][0] == "2 / 8"


def test_figures(page: ReportPage) -> None:
    assert list(page.plots()) == [
        "Validation loss against rounds",
        "Validation loss against forward passes",
        "Validation loss against bytes per client",
        "Validation loss against CPU seconds",
        "Final validation loss",
        "Difference to zorba",
    ]
    assert "; mezo:" not in page.plots()["Validation loss against bytes per client"].attrib["aria-label"]
    assert "Nothing travels in mezo." in page.text


def test_warnings_say_what_is_not_averaged(page: ReportPage) -> None:
    assert "fedkseed: 2 of 3; diverged: seed 3 after round 7. Means are over the finished seeds." in page.text
    assert "at an end of their ladder: zorba 0.0001, fedavg 0.0001" in page.text


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    path = write_fake_contest(tmp_path / "c", methods=("zorba", "mezo"), seeds=1)
    page = ReportPage(write_report([path], path / "compare.html"))
    assert all(cell.endswith(" ± –") for cell in page.tables["Validation and test"][1][2:])
    assert page.tables["Differences to zorba"][1][-1] == "–"


def test_a_run_is_linked_where_it_has_a_report(tmp_path: Path) -> None:
    path = write_fake_contest(tmp_path / "a b", methods=("zorba",), seeds=1)
    (path / "zorba" / "seed-1").mkdir(parents=True)
    (path / "zorba" / "seed-1" / "report.html").write_text("x")
    assert 'href="zorba/seed-1/report.html"' in write_report([path], path / "compare.html").read_text()
    assert 'href="a%20b/zorba/seed-1/report.html"' in write_report([path], tmp_path / "page.html").read_text()


def test_nothing_has_run_yet(tmp_path: Path) -> None:
    path = write_fake_contest(tmp_path / "c")
    tree = json.loads((path / "compare.json").read_text())
    tree["outcomes"], tree["targets"], tree["status"] = [], [], "interrupted"
    for cell in tree["cells"]:
        cell["status"] = "pending"
    (path / "compare.json").write_text(json.dumps(tree))
    page = ReportPage(write_report([path], path / "compare.html"))
    assert "This comparison is unfinished: 21 of 21 compared runs are to come." in page.text
    assert page.plots() == {}


def test_damaged_or_among_others(tmp_path: Path) -> None:
    path = write_fake_contest(tmp_path / "c")
    with pytest.raises(RunDirError, match=r"is a comparison: it has a report of its own.*METHOD/seed-1"):
        write_report([path, write_fake_run(tmp_path / "run")], tmp_path / "page.html")
    (path / "compare.json").write_text('{"format": 2}')
    for read in (lambda: write_report([path], tmp_path / "page.html"), lambda: read_contest(path)):
        with pytest.raises(RunDirError, match=r"compare\.json"):
            read()
