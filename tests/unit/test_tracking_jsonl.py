"""metrics.jsonl: appending, torn lines, and one record per round after a resume."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.errors import RunDirError
from zorba_ray.experiment.tracking import JsonlMonitor, keep_rounds, read_records


def test_records_come_back_as_written(tmp_path: Path) -> None:
    sink = JsonlMonitor(tmp_path / "metrics.jsonl")
    records = [
        {"kind": "eval", "round": 0, "split": "validation", "loss": 0.1 + 0.2, "accuracy": None},
        {"kind": "round", "round": 1, "loss": 1e-7, "rejected": {"3": "nicht endlich: ∞"}},
    ]
    for record in records:
        sink.log(record)
    assert read_records(sink.path) == records
    assert sink.path.read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize("tail", ['{"kind": "round", "rou', "{", "17", '{"kind": "round"\x00'])
def test_torn_last_line_is_left_out_and_cut_before_the_next_record(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "round", "round": 1}\n' + tail, encoding="utf-8")
    assert read_records(path) == [{"kind": "round", "round": 1}]
    JsonlMonitor(path).log({"kind": "round", "round": 2})
    assert read_records(path) == [{"kind": "round", "round": 1}, {"kind": "round", "round": 2}]


def test_a_torn_first_line_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "ro', encoding="utf-8")
    assert read_records(path) == []
    JsonlMonitor(path)
    assert path.read_bytes() == b""


def test_a_whole_record_without_its_line_feed_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "round", "round": 1}', encoding="utf-8")
    JsonlMonitor(path).log({"kind": "round", "round": 2})
    assert [record["round"] for record in read_records(path)] == [1, 2]


def test_a_damaged_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "round", "round": 1}\n{"kind"\n{"kind": "round", "round": 3}\n', encoding="utf-8")
    with pytest.raises(RunDirError, match=r"metrics\.jsonl, line 2"):
        read_records(path)


def test_a_metrics_file_that_cannot_be_written_raises(tmp_path: Path) -> None:
    sink = JsonlMonitor(tmp_path / "no such folder" / "metrics.jsonl")
    with pytest.raises(OSError, match="No such file"):
        sink.log({"kind": "round", "round": 1})


_ROUND = st.builds(lambda n, x: {"kind": "round", "round": n, "loss": x}, st.integers(1, 6), st.integers(0, 99))
_EVAL = st.builds(
    lambda n, split, x: {"kind": "eval", "round": n, "split": split, "loss": x},
    st.integers(0, 6),
    st.sampled_from(["validation", "test"]),
    st.integers(0, 99),
)


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["kind"], record["round"], record.get("split")


@given(st.lists(st.one_of(_ROUND, _EVAL), max_size=20), st.integers(0, 7), st.booleans())
def test_keep_rounds(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], last: int, torn: bool):
    path = tmp_path_factory.mktemp("keep") / "metrics.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + ('{"kind"' if torn else ""), encoding="utf-8")
    keep_rounds(path, last)
    kept = read_records(path)
    keys = [_key(record) for record in kept]
    # Exactly once, exactly those up to the last round, the first of duplicates, in the old order.
    assert len(set(keys)) == len(keys)
    assert set(keys) == {_key(r) for r in records if r["round"] <= last}
    firsts = {key: next(r for r in records if _key(r) == key) for key in keys}
    assert kept == list(firsts.values())
    assert [records.index(record) for record in kept] == sorted(records.index(record) for record in kept)
    # Again changes nothing, and no other file stays behind.
    before = path.read_bytes()
    keep_rounds(path, last)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["metrics.jsonl"]
