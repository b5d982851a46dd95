"""The kit of tables: cells as they read, on a page and in a terminal, and what seeds say of a number."""

import io
import math

import pytest
from rich.console import Console

from zorba_ray.tables import Column, Link, Spread, Table, wilson, with_interval
from zorba_ray.tables.spread import quantile
from zorba_ray.tables.text import text_bytes, text_count, text_gap, text_loss, text_seconds, text_value


def printed(table: Table, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(table.terminal(width))
    return stream.getvalue()


def test_cells_read_by_their_columns() -> None:
    spread = Spread.of([0.25, 0.5, 0.75])
    table = Table(
        "T",
        [("a", None, 0.5, spread, 3), ("b", "none", 1.0, Spread.of([0.5]), 4)],
        [
            Column("name", lambda item: Link(item[0], "a.html" if item[0] == "a" else "")),
            Column("word", lambda item: item[1]),
            Column("loss", lambda item: item[2], text_loss),
            Column("over seeds", lambda item: item[3], with_interval(text_loss)),
            Column("count", lambda item: item[4]),
        ],
    )
    half = 4.303 * 0.25 / 3**0.5
    assert table.texts() == [
        ["a", "–", "0.5000", f"0.5000 ± {half:.4f}", "3"],
        ["b", "none", "1.0000", "0.5000", "4"],
    ]
    assert table.rows()[0] == [("a", "a.html"), *((text, "") for text in table.texts()[0][1:])]


def test_columns_that_matter_least_go_first() -> None:
    names = {"name": 0, "middle": -1, "last": -2}
    columns = [Column(name, lambda item, name=name: name[0] * 10, keep=keep) for name, keep in names.items()]
    shown = [[name in printed(Table("", [1], columns), width) for name in names] for width in (60, 30, 15)]
    assert shown == [[True, True, True], [True, True, False], [True, False, False]]
    narrow = printed(Table("", [1], columns), 8)
    assert max(map(len, narrow.splitlines())) <= 8
    assert narrow.count("n") >= 10, "what stays is folded, not cut"


def test_numbers_are_flush_right_and_the_note_stands_below() -> None:
    table = Table("T", [1, 20], [Column("what", lambda item: "x"), Column("number", lambda item: item, str)], "a note")
    lines = printed(table, 40).splitlines()
    assert lines[0].strip() == "T"
    assert lines[-1].strip() == "a note"
    assert any(line.endswith("    1 │") for line in lines)


def test_seeds() -> None:
    assert Spread.of([]) is None
    assert Spread.of([5.0, None]) == Spread((5.0,))
    assert Spread.of_all([5.0, None]) is None
    spread = Spread.of([1.0, 2.0, 3.0])
    assert spread is not None
    assert (spread.mean, spread.low, spread.high, spread.count, spread.sd) == (2.0, 1.0, 3.0, 3, 1.0)
    assert spread.half == pytest.approx(4.303 / 3**0.5)
    single = Spread.of([5.0])
    assert single is not None
    assert single.half is None
    read = with_interval(text_loss)
    assert [read(Spread(values)) for values in ((0.5,), (0.75, 0.25), (0.5, 0.5))] == [
        "0.5000",
        "0.7500, 0.2500",
        "0.5000",
    ]


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (81, 263), (1, 1)])
def test_the_interval_of_a_share(right: int, count: int) -> None:
    """Its ends are the q with (p − q)² = z² q (1 − q) / n, of which one is below p and one above."""
    share = right / count
    low, high = wilson(share, count)
    assert 0 <= low <= share <= high <= 1
    assert low < high
    for end in (low, high):
        assert (share - end) ** 2 == pytest.approx(1.960**2 * end * (1 - end) / count, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 10, 29, 30, 31, 40, 100, 1001])
def test_quantiles_of_student_t(freedom: int) -> None:
    """By the finite series for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4): P(|T| <= t) = 95 %."""
    off = 5.1e-4 if freedom <= 30 else 4e-3
    assert _within(quantile(freedom) - off, freedom) < 0.95 < _within(quantile(freedom) + off, freedom)


def _within(t: float, freedom: int) -> float:
    angle = math.atan(t / math.sqrt(freedom))
    term = math.cos(angle) if freedom % 2 else 1.0
    total = 0.0
    for step in range(freedom // 2):
        total += term
        low = 2 * step + (2 if freedom % 2 else 1)
        term *= math.cos(angle) ** 2 * low / (low + 1)
    return 2 / math.pi * (angle + math.sin(angle) * total) if freedom % 2 else math.sin(angle) * total


def test_numbers_read_well() -> None:
    assert [text_bytes(x) for x in (None, 45.5, 46, 46.0, 1536)] == ["–", "45.5 B", "46 B", "46 B", "1.5 KiB"]
    values = (None, 1e6, 0.25, float("-inf"), float("inf"))
    assert [text_value(x) for x in values] == ["–", "1,000,000", "0.25", "−∞", "∞"]
    assert [text_gap(x) for x in (None, 1e-16, 0.005, float("inf"))] == ["–", "0 %", "0.5 %", "unknown"]
    assert [text_seconds(x) for x in (None, 0.0042, 1.25, 65)] == ["–", "4.2 ms", "1.2 s", "1 min 5 s"]
    assert [text_count(n, "seed") for n in (0, 1, 1200)] == ["0 seeds", "1 seed", "1,200 seeds"]
