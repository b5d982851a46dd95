"""A column of right answers per row: a text, a list of texts, or {"text": [...]} as in SQuAD. Any of them is right."""

from typing import Any

from zorba_ray.data.table_file import DataTable
from zorba_ray.errors import DataError
from zorba_ray.printable import shown


def read_references(table: DataTable, column: str) -> list[list[str]]:
    """The right answers of each row, each once.

    Raises:
        DataError: a row has no right answer, an empty one, or one that is not text.
    """
    return [
        _references(value, f"{table.row(row)}: column {shown(column)} (task.references_column)")
        for row, value in enumerate(table.columns[column])
    ]


def _references(value: Any, where: str) -> list[str]:
    if isinstance(value, dict) and "text" in value:
        value = value["text"]
    answers = value if isinstance(value, list) else [] if value is None else [value]
    if not answers:
        raise DataError(f"{where} has no right answer; write one, or leave the row out")
    for answer in answers:
        if not isinstance(answer, str) or not answer.strip():
            raise DataError(
                f"{where} holds {shown(answer)}; a right answer must be text and not empty: write it as text (18 as "
                '"18"), or leave the row out'
            )
    return list(dict.fromkeys(map(str, answers)))
