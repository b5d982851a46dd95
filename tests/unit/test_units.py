"""Bytes and seconds, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.units import format_bytes, format_seconds, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (25769803776, 25769803776),
        (0, 0),
        ("24 GiB", 24 * 2**30),
        ("24GB", 24 * 10**9),
        ("24gib", 24 * 2**30),
        ("1.5e9", 1_500_000_000),
        (1.5e9, 1_500_000_000),
        ("1.5 KiB", 1536),
        (" 7 ", 7),
        ("7 b", 7),
        ("2 TiB", 2**41),
        ("3 kB", 3000),
    ],
)
def test_bytes_are_read(text: int | float | str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "GiB", "24 GiX", "-1", -1, "1.2.3 GiB", "nan", "inf", "1e999", True, "0x10", "1,5 GiB", "."]
)
def test_what_is_no_byte_count_is_refused(text: int | str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_bytes(text)


@given(st.integers(0, 2**63))
def test_integers_stay_exact(count: int) -> None:
    assert parse_bytes(count) == count


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (24 * 2**30, "24 GiB"), (2**41, "2 TiB")],
)
def test_bytes_are_written(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234, "1.2 s"), (59.94, "59.9 s"), (65, "1 min 5 s"), (3599.6, "1 h 0 min"), (3725, "1 h 2 min")],
)
def test_seconds_are_written(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
