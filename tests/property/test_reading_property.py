"""What a writer wrote is what is read: CSV in several dialects, JSON lines and lists, parquet."""

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.data.table_file import KINDS
from zorba_ray.data.tables import read_table

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    ["NA", "", "007", "1.0", "true", '"', "\n", "\r\n", " ", ",", "2020-01-01", "\ufeff", "\x00", "'"]
)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


def both(path: Path) -> list[tuple[str, str]]:
    table = read_table(path, KINDS[path.suffix], ["text", "who"])
    return list(zip(table.texts("text"), table.texts("who"), strict=True))


@given(ROWS, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_csv(folder: Path, rows: list[tuple[str, str]], delimiter: str, end: str, quote_all: bool, mark: bool) -> None:
    path = folder / "rows.csv"
    # A bare carriage return ends a row for most readers; writers quote it only where it is their own line end.
    quoting = csv.QUOTE_ALL if quote_all or end == "\n" else csv.QUOTE_MINIMAL
    with path.open("w", newline="", encoding="utf-8-sig" if mark else "utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
        writer.writerows([("text", "who"), *rows])
    assert both(path) == rows


@given(ROWS, st.booleans(), st.booleans())
@settings(deadline=None)
def test_json(folder: Path, rows: list[tuple[str, str]], as_list: bool, ascii_only: bool) -> None:
    path = folder / "rows.jsonl"
    trees = [{"text": text, "who": who} for text, who in rows]
    lines = [json.dumps(tree, ensure_ascii=ascii_only) for tree in trees]
    whole = json.dumps(trees, ensure_ascii=ascii_only, indent=1)
    path.write_text(whole if as_list else "\n".join(lines), encoding="utf-8", newline="")
    assert both(path) == rows


@given(ROWS)
@settings(deadline=None)
def test_parquet(folder: Path, rows: list[tuple[str, str]]) -> None:
    path = folder / "rows.parquet"
    texts, owners = zip(*rows, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": list(texts), "who": list(owners)}), path)
    assert both(path) == rows
