"""Awkward files as pandas and pyarrow write them: every row as it was, or refused by file and row."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from zorba_ray.data.table_file import KINDS
from zorba_ray.data.tables import read_table
from zorba_ray.errors import DataError

TEXTS = {
    "na_words": ["NA", "null", "None", "n/a", "nan", "NaN", "<NA>", "NULL", "#N/A", "-"],
    "dates": ["2020-01-01", "2020-01-01 00:00:00", "2020-01-01T00:00:00Z", "01/02/03", "Jan 5", "12:30"],
    "numbers": ["007", "1.0", "1e5", "0x10", "+3", "1_000", "1,5", "٣", "inf", "-0"],
    "truths": ["True", "false", "TRUE", "yes", "no", "on"],
    "spaces": [" lead", "trail ", "  ", "\t", "a\u00a0b", "\u3000"],
    "line_breaks": ["a\nb", "a\r\nb", "a\rb", "\n", "a\u2028b", "a\x85b", "a\x0bb\x0cb"],
    "quotes": ['say "hi"', '"', '""', "it's", '"quoted"', '5" disk', "a,b", ",", "\\", '\\"', "a;b", "a\tb"],
    "unicode": ["é", "e\u0301", "日本", "🎬", "\u202eabc", "\ufeffa", "\u200b", "\U0010ffff", "ﷺ"],
    "controls": ["a\x01b", "\x1b[31mred", "\x7f", "\x1c\x1d", "a\x08"],
    "markup": ["<b>", "&amp;", "{text}", "{}", "{{", "%s", "=1+1", "@a", "#c"],
    "empty": ["", "a", "", "b", ""],
    "long": ["x" * 200_000, "y", "日" * 70_000],
    "nul": ["a\x00b", "\x00"],
}


def by_pandas(path: Path, delimiter: str = ",") -> list[str]:
    """The column `text` as pandas reads strings."""
    frame = pandas.read_csv(
        path, dtype=str, keep_default_na=False, sep=delimiter, encoding="utf-8-sig", engine="python"
    )
    return frame["text"].tolist()


def ours(path: Path) -> list[str]:
    return read_table(path, KINDS[path.suffix], ["text"]).texts("text")


def csv_bytes(texts: list[str], **options: Any) -> bytes:
    buffer = io.StringIO(newline="")
    pandas.DataFrame({"text": texts, "label": range(len(texts))}).to_csv(buffer, index=False, **options)
    return buffer.getvalue().encode()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        ours(path)
    message = str(caught.value)
    assert path.name in message
    assert len(message) <= 2000
    assert message.isprintable(), "nothing in it moves the cursor"
    return message


# Equal --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TEXTS)
def test_csv_as_pandas_writes_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(csv_bytes(TEXTS[kind], quoting=csv.QUOTE_ALL if kind == "line_breaks" else csv.QUOTE_MINIMAL))
    assert ours(path) == TEXTS[kind]


@pytest.mark.parametrize("kind", TEXTS)
def test_jsonl(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.jsonl"
    for ascii_only in (True, False):
        lines = [json.dumps({"text": text, "label": 0}, ensure_ascii=ascii_only) for text in TEXTS[kind]]
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
        assert ours(path) == TEXTS[kind]


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("column", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary("int32", "string")])
def test_parquet(tmp_path: Path, kind: str, column: pyarrow.DataType) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(TEXTS[kind], column)}), path, row_group_size=2)
    assert ours(path) == TEXTS[kind]


HAND_WRITTEN: dict[str, tuple[bytes, str]] = {
    "byte order mark": ("\ufefftext,label\na,1\n".encode(), ","),
    "byte order mark and quotes": ('\ufeff"text","label"\n"a","1"\n'.encode(), ","),
    "Windows line ends": (b"text,label\r\na,1\r\n\r\nb,2\r\n", ","),
    "old Macintosh line ends": (b"text,label\ra,1\rb,2\r", ","),
    "no line end at the end": (b"text,label\na,1\nb,2", ","),
    "blank lines": (b"\n\ntext,label\n\na,1\n\n\nb,2\n\n", ","),
    "a quoted header over two lines": (b'text,"la\nbel"\na,1\n', ","),
    "an empty name": (b",text\n0,a\n1,b\n", ","),
    "two columns of a name that is not wanted": (b"text,x,x\na,1,2\n", ","),
    "one column": (b"text\na\nb c\n", ","),
    "a quote inside a field": (b'text,label\n5" disk,1\n', ","),
    "a space before a quote": (b'text,label\n "a",1\n', ","),
    "semicolons": ("text;label\na, b;1\n„c“;2\n".encode(), ";"),
    "semicolons and quotes": (b'"text";"label"\n"a";"1"\n', ";"),
    "tabs": (b'text\tlabel\na, b;c\t1\n"d\te"\t2\n', "\t"),
    "other columns first": (b"id,label,text\n01,1,02\n", ","),
    "a column of blanks": (b"text,label\n  ,1\n\t,2\n", ","),
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_csv_written_by_hand(tmp_path: Path, name: str) -> None:
    content, delimiter = HAND_WRITTEN[name]
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    found = ours(path)
    assert found == by_pandas(path, delimiter)
    assert found


def test_an_empty_text_alone_on_its_line(tmp_path: Path) -> None:
    """Quoted, as csv.writer writes it, it is a row; pandas drops it."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b'text\na\n""\n\n')
    assert ours(path) == ["a", ""]


@pytest.mark.parametrize(
    "content",
    [
        b'[{"text": "007"}, {"text": "NA"}]',
        b' \n [\n {"text": "007"},\n {"text": "NA"}\n]\n',
        b'\xef\xbb\xbf{"text": "007"}\n{"text": "NA"}\n',
        b'{"text": "007"}\r\n\r\n{"text": "NA", "other": [1, {"text": 5}]}\r\n',
        b'{"text": "007", "label": 1, "label": 2}\n{"text": "NA"}',
    ],
)
def test_json_in_other_forms(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    assert ours(path) == ["007", "NA"]


def test_rows_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'text,label\n"a\nb",1\n\nc,2\n')
    table = read_table(path, "csv", ["text"])
    assert [table.row(place).removeprefix(f"data.path={path}: ") for place in (0, 1)] == [
        "row 1 (line 2)",
        "row 2 (line 5)",
    ]


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,who\na,01\n")
    assert read_table(path, "csv", ["text"], "who").columns == {"text": ["a"], "who": ["01"]}
    assert read_table(path, "csv", ["text"], "whom").columns == {"text": ["a"]}


# Refused ------------------------------------------------------------------------------------------------------------

CSV_REFUSED: dict[str, tuple[bytes, str]] = {
    "too many fields": (b"text,label\na,1\nb,2,3\n", r"row 2 \(line 3\) has 3 fields and the header has 2"),
    "too few fields": (b"text,label\na,1\n\nb\n", r"row 2 \(line 4\) has 1 fields and the header has 2"),
    "a comma in bare text": (b"text,label\nwell, no,1\n", r"row 1 \(line 2\) has 3 fields"),
    "an open quote": (b'text,label\na,1\n"b,2\nc,3\n', r"row 2 \(line 3\): unexpected end of data"),
    "text after a quote": (b'text,label\n"a"b,1\n', r"row 1 \(line 2\): ',' expected after '\"'"),
    "Latin-1": ("text,label\na,1\ncafé,2\n".encode("latin-1"), r"line 3 is not UTF-8"),
    "UTF-16": ("text,label\na,1\n".encode("utf-16"), r"line 1 is not UTF-8"),
    "UTF-16 without a mark": ("text,label\na,1\n".encode("utf-16-le"), r"no column 'text' \(columns: 't\\x00e"),
    "two texts": (b"text,text\na,b\n", r"more than one column 'text'"),
    "no header": (b"a film,1\nb film,0\n", r"no column 'text' \(columns: 'a film', '1'\)"),
    "a space in the header": (b"label, text\n1,a\n", r"no column 'text' \(columns: 'label', ' text'\)"),
    "a torn header": (b'"text,label\na,1\n', r"the header: unexpected end of data"),
    "bars": (b"text|label\na|1\n", r"no column 'text' \(columns: 'text\|label'\)"),
    "control characters in the header": (b"\x1b[2Jtext,label\na,1\n", r"columns: '\\x1b\[2Jtext'"),
    "a long header": (b"x" * 300_000 + b",label\na,1\n", r"300,000 characters"),
    "many columns": (b",".join(b"c%d" % i for i in range(50_000)) + b"\n", r"50000 in all"),
    "a header alone": (b"text,label\n", r"the file is empty: it has no rows"),
    "blank lines alone": (b"\n\n\n", r"the file is empty"),
    "nothing": (b"", r"the file is empty"),
}


JSON_REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b'{"text": "a"}\n{"text": null}\n', r"row 2 \(line 2\) has no text in column 'text'"),
    "a number": (b'{"text": "a"}\n\n{"text": 7}\n', r"row 2 \(line 3\) has 7 \(int\), not text"),
    "a truth value": (b'{"text": true}\n', r"row 1 \(line 1\) has True \(bool\)"),
    "a list": (b'{"text": ["a", "b"]}\n', r"row 1 \(line 1\) has \['a', 'b'\] \(list\)"),
    "an object": (b'[{"text": {"a": 1}}]', r"row 1 has {'a': 1} \(dict\)"),
    "a row without": (b'{"text": "a"}\n{"txet": "b"}\n', r"row 2 \(line 2\) has no 'text' \(it has 'txet'\)"),
    "no such column": (b'{"words": "a"}\n', r"has no column 'text' \(columns: 'words'\)"),
    "a key twice": (b'{"text": "a"}\n{"text": "b", "text": "c"}\n', r"line 2: the key 'text' is twice"),
    "half a surrogate pair": (b'{"text": "a\\ud800"}\n', r"row 1 \(line 1\): .*half of a surrogate pair"),
    "a torn line": (b'{"text": "a"}\n{"text": "b', r"line 2: Unterminated string"),
    "a line that is not an object": (b'{"text": "a"}\n5\n', r"line 2 is 5, not an object"),
    "a list of texts": (b'["a", "b"]', r"row 1 is 'a', not an object"),
    "one object over lines": (b'{\n"text": "a"\n}', r"line 1: "),
    "lists on lines": (b'["a"]\n["b"]\n', r"Extra data"),
    "Latin-1": ('{"text": "a"}\n{"text": "é"}'.encode("latin-1"), r"line 2 is not UTF-8"),
    "Latin-1 in a list": ('[{"text": "a"},\n{"text": "é"}]'.encode("latin-1"), r"line 2 is not UTF-8"),
    "deep": (b"[" * 200_000, r"recursion"),
    "a number of 5,000 digits": (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", r"line 1: Exceeds the limit"),
    "blank lines alone": (b"\n \n", r"the file is empty"),
}


@pytest.mark.parametrize(
    ("ending", "name"), [*((".csv", name) for name in CSV_REFUSED), *((".jsonl", name) for name in JSON_REFUSED)]
)
def test_text_that_is_refused(tmp_path: Path, ending: str, name: str) -> None:
    content, rule = (CSV_REFUSED if ending == ".csv" else JSON_REFUSED)[name]
    path = tmp_path / f"rows{ending}"
    path.write_bytes(content)
    assert re.search(rule, refusal(path))


def not_utf8() -> pyarrow.Array:
    return pyarrow.array([b"a", b"\xff\xfe"], pyarrow.binary()).view(pyarrow.string())


PARQUET_REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: ["a", None], r"row 2 has no text in column 'text'"),
    "whole numbers": (lambda: [7, 8], r"row 1 has 7 \(int\), not text"),
    "numbers": (lambda: [0.5], r"row 1 has 0\.5 \(float\)"),
    "truth values": (lambda: [True], r"row 1 has True \(bool\)"),
    "lists": (lambda: [["a"]], r"row 1 has \['a'\] \(list\)"),
    "bytes": (lambda: [b"a\x1b"], r"row 1 has b'a\\x1b' \(bytes\)"),
    "dates": (lambda: pandas.to_datetime(pandas.Series(["2020-01-01"])), r"row 1 has datetime"),
    "all nothing": (lambda: pyarrow.nulls(3), r"row 1 has no text"),
    "not UTF-8": (not_utf8, r"row 2 of column 'text' is not UTF-8"),
}


@pytest.mark.parametrize("name", PARQUET_REFUSED)
def test_parquet_that_is_refused(tmp_path: Path, name: str) -> None:
    make, rule = PARQUET_REFUSED[name]
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": make()}), path)
    assert re.search(rule, refusal(path))


def test_parquet_with_two_texts(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"]), path)
    assert "more than one column 'text'" in refusal(path)


def test_the_folder_of_a_parquet_file_adds_no_columns(tmp_path: Path) -> None:
    """A reader of whole data sets would take `label=1` for a column."""
    path = tmp_path / "label=1" / "rows.parquet"
    path.parent.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), path)
    with pytest.raises(DataError, match="no column 'label'"):
        read_table(path, "parquet", ["text", "label"])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    path = tmp_path / "rows.csv"
    os.mkfifo(path)
    assert "no ordinary file" in refusal(path)
