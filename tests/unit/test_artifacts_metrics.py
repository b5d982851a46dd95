"""metrics.jsonl: appending, torn lines, and one record per round after a resume."""

import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.artifacts import Eval, Round, append_record, cut_torn_tail, keep_rounds, read_metrics, records_of
from zorba_ray.artifacts.metrics import damaged_lines
from zorba_ray.errors import RunDirError

FIRST = '{"kind": "round", "round": 1}'


def metrics(folder: Path, text: str) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_records_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    records = [
        Eval(round=0, split="validation", loss=0.1 + 0.2),
        Round(round=1, loss=1e-7, rejected={3: "nicht endlich: ∞"}, client_loss={0: 0.5}, time={"round_s": 0.25}),
    ]
    assert records_of(path, Round) == []
    for record in records:
        append_record(path, record)
    assert read_metrics(path) == records
    assert records_of(path, Round) == records[1:]
    assert path.read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize("tail", ['{"kind": "round", "rou', "{", "17", '{"kind": "round"\x00', "\udcff"])
@pytest.mark.parametrize("before", ["", FIRST + "\n"])
def test_a_torn_last_line_is_left_out_and_cut_before_the_next_record(tmp_path: Path, before: str, tail: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes((before + tail).encode("utf-8", "surrogateescape"))
    known = [Round(round=1)] if before else []
    assert read_metrics(path) == known
    cut_torn_tail(path)
    append_record(path, Round(round=2))
    assert read_metrics(path) == [*known, Round(round=2)]


def test_a_whole_record_without_its_line_feed_is_kept(tmp_path: Path) -> None:
    path = metrics(tmp_path, FIRST)
    cut_torn_tail(path)
    append_record(path, Round(round=2))
    assert read_metrics(path) == [Round(round=1), Round(round=2)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind"', "line 2: damaged, or not a record: `zorba-ray repair"),
        ('{"kind": "round", "round": -2}', "line 2: round: Expected `int` >= 0"),
        ('{"kind": "round", "round": 2, "rejected": {"one": "x"}}', "line 2: .*Expected `int`, got `str`"),
        ('{"kind": "eval", "round": 2, "loss": 1.0}', "line 2: Object missing required field `split`"),
        ('{"kind": "eval", "round": 2, "split": "test", "loss": "low"}', "line 2: loss: Expected `float`, got `str`"),
        ('{"kind": "round", "round": 2, "version": 2}', "line 2: Round of version 2; this program reads versions 1 to"),
    ],
)
def test_a_damaged_line_is_an_error_with_its_number_and_key(tmp_path: Path, line: str, message: str) -> None:
    path = metrics(tmp_path, f'{FIRST}\n{line}\n{{"kind": "round", "round": 3}}\n')
    with pytest.raises(RunDirError, match=rf"metrics\.jsonl, {message}"):
        read_metrics(path)


def test_what_a_newer_program_wrote_is_read_and_kept(tmp_path: Path) -> None:
    """Keys and kinds of records that this one does not know."""
    lines = [
        '{"kind": "round", "round": 1, "energy_j": 3.5, "assignment": {"reason": "probe", "cause": 7}}',
        '{"kind": "client", "round": 1, "split": "a"}',
    ]
    path = metrics(tmp_path, "".join(f"{line}\n" for line in lines))
    [record] = read_metrics(path)
    assert isinstance(record, Round)
    assert record.assignment is not None
    assert (record.unknown, record.assignment.unknown) == ({"energy_j": 3.5}, {"cause": 7})
    assert (record.tree()["energy_j"], record.tree()["assignment"]["cause"]) == (3.5, 7)
    keep_rounds(path, 1)
    assert [_checked(line) for line in path.read_text(encoding="utf-8").splitlines()] == list(map(json.loads, lines))


_ROUND = st.builds(lambda n, x: {"kind": "round", "round": n, "loss": x}, st.integers(1, 6), st.integers(0, 99))
_EVAL = st.builds(
    lambda n, split, x: {"kind": "eval", "round": n, "split": split, "loss": x},
    st.integers(0, 6),
    st.sampled_from(["validation", "test"]),
    st.integers(0, 99),
)


def _checked(line: str) -> dict[str, Any]:
    """The record of a line, whose CRC fits."""
    text, _, check = line.removesuffix('"}').rpartition(', "crc": "')
    assert zlib.crc32(f"{text}}}".encode()) == int(check, 16)
    return json.loads(f"{text}}}")


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["kind"], record["round"], record.get("split")


@given(st.lists(st.one_of(_ROUND, _EVAL), max_size=20), st.integers(0, 7), st.booleans())
def test_keep_rounds(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], last: int, torn: bool):
    torn_line = '{"kind"' if torn else ""
    path = metrics(tmp_path_factory.mktemp("keep"), "".join(json.dumps(r) + "\n" for r in records) + torn_line)
    keep_rounds(path, last)
    kept = [_checked(line) for line in path.read_text(encoding="utf-8").splitlines()]
    keys = [_key(record) for record in kept]
    # Exactly once, exactly those up to the last round, the first of duplicates, in the old order.
    assert len(set(keys)) == len(keys)
    assert set(keys) == {_key(r) for r in records if r["round"] <= last}
    assert kept == [next(r for r in records if _key(r) == key) for key in keys]
    assert [records.index(record) for record in kept] == sorted(records.index(record) for record in kept)
    # Again changes nothing, and no other file stays behind.
    before = path.read_bytes()
    keep_rounds(path, last)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["metrics.jsonl"]


def test_no_bit_of_a_line_counts_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits of three lines, one at a time: a reader refuses the file, and `keep_rounds` leaves the line out."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # thousands of rewritten files
    path = tmp_path / "metrics.jsonl"
    records = [Round(round=number, loss=1.5 / number, client_loss={0: 0.25}) for number in (1, 2, 3)]
    for record in records:
        append_record(path, record)
    data = path.read_bytes()
    idle = 0
    bits = random.Random(3).sample(range(8 * len(data)), 300)
    for bit in bits:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            idle += read_metrics(path) == records
        except RunDirError:
            assert damaged_lines(path)
        else:
            assert all(record in records for record in read_metrics(path)), bit
        keep_rounds(path, 3)
        assert all(record in records for record in read_metrics(path)), bit
    assert idle < 0.05 * len(bits), "white space, and the name of the CRC"
