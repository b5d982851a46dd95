"""A file of rows -> what its columns may be for: text for the prompt, labels, owners. Its user corrects it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zorba_ray.config import TaskName
from zorba_ray.data.files import training_file
from zorba_ray.data.labels import read_listing
from zorba_ray.data.table_file import DataTable
from zorba_ray.data.tables import column_names, read_table
from zorba_ray.errors import DataError
from zorba_ray.printable import listed, shown

_LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "stars", "rating", "intent", "topic")
"""What the name of a label column begins with, the surest first."""
_OWNER_NAMES = ("client", "client_id", "hospital", "site", "user", "user_id", "owner", "author", "speaker", "subject")
_ANSWER_NAMES = ("output", "answer", "response", "completion", "reply", "summary", "translation")
"""What the name of a column of answers begins with."""
_MOST_LABELS = 20
"""Of a column whose name says nothing."""
_LETTERS_PER_TOKEN = 4
"""Of English, about; the run counts the tokens themselves."""


@dataclass(frozen=True)
class DataProposal:
    """How a file may be read."""

    rows: int
    """Of the training file."""
    prompt: str
    """Template with the text columns in braces."""
    label_column: str | None
    """None: no column can be a label, so the model learns the text itself."""
    label_words: tuple[str, ...]
    """One per label, in label order."""
    label_rows: tuple[int, ...]
    """Rows of each label."""
    named: bool
    """Whether the words say what the labels mean: names in the file or in labels.json, not bare numbers."""
    owner_column: str | None
    """Column that may say whose each row is."""
    owners: int
    """Its distinct values."""
    max_length: int
    """Tokens for 19 of 20 rows, as guessed from their letters; a power of two."""
    answer_column: str | None = None
    """A completion: column of the answer. None: no column reads so."""
    options_column: str | None = None
    """A multiple choice: column of lists of text, one of which `label_column` names."""
    messages_column: str | None = None
    """A completion of chats."""
    references_column: str | None = None
    """A generation: column of lists of right answers."""

    @property
    def kind(self) -> TaskName:
        """The task."""
        if self.references_column:
            return "generation"
        if self.answer_column or self.messages_column:
            return "completion"
        if self.options_column:
            return "multiple_choice"
        return "classification" if self.label_column else "language_model"


def propose_data(path: Path) -> DataProposal:
    """Looks at all rows of a file, or of a folder's training file.

    Raises:
        DataError: nothing there that can be read, a column of lists, or no text whose column a prompt can name.
    """
    file, kind = training_file(path)
    table = read_table(file, kind, column_names(file, kind))
    names = list(table.columns)
    chats = next((name for name in names if _are(table.columns[name], _is_chat)), None)
    options = next((name for name in names if _are(table.columns[name], _is_choice)), None)
    right = None if options is None else _right_column(table, options)
    lists = [name for name in names if any(isinstance(value, (list, dict)) for value in table.columns[name])]
    answers = None if chats or right else next((name for name in lists if _are_answers(table, name)), None)
    other = next((name for name in lists if name != answers), None)
    if other is not None and chats is None and right is None:
        raise DataError(
            f"data.path={table.origin}: the column {shown(other)} holds lists, and they are neither chats (lists of "
            "role and content) nor options with a column that says which is right, nor right answers (lists of text in "
            "a column with such a name); drop the column, or write text"
        )
    owner = next((name for name in names if name.lower() in _OWNER_NAMES), None)
    label = right or (None if chats or answers else _label_column(table))
    plain = [name for name in names if name not in (label, owner, options, answers) and name != chats]
    answer = None if label or chats or answers else _answer_column(table, plain)
    end = answer or answers
    before = [name for name in plain if end is None or names.index(name) < names.index(end)] or plain
    texts = [chats] if chats else _text_columns(table, before)
    words, counts, named = ((), (), True)
    if label is not None and right is None:
        words, counts, named = _label_words(table, label, file.parent)
    told = [name for name in (*texts, answer) if name is not None]
    lengths = [sum(_letters(table.columns[name][row]) for name in told) for row in range(len(table))]
    tokens = sorted(lengths)[int(0.95 * (len(lengths) - 1))] / _LETTERS_PER_TOKEN + 8
    asked = "\nAnswer:" if answer or answers or right else " It was" if label else ""
    return DataProposal(
        rows=len(table),
        prompt=" ".join(f"{{{name}}}" for name in texts) + asked,
        label_column=label,
        label_words=words,
        label_rows=counts,
        named=named,
        owner_column=owner,
        owners=len(set(map(str, table.columns[owner]))) if owner else 0,
        max_length=min(512, max(32, 2 ** (int(tokens) - 1).bit_length())),
        answer_column=answer,
        options_column=options if right else None,
        messages_column=chats,
        references_column=answers,
    )


def _are(column: list[Any], kind: Callable[[Any], bool]) -> bool:
    return bool(column) and all(isinstance(value, list) and len(value) > 0 and kind(value) for value in column)


def _is_chat(value: list[Any]) -> bool:
    return all(isinstance(message, dict) and {"role", "content"} <= message.keys() for message in value)


def _is_choice(value: list[Any]) -> bool:
    return all(isinstance(option, str) for option in value)


def _are_answers(table: DataTable, name: str) -> bool:
    """Whether a column has lists of right answers, as SQuAD has them, and a name that says so."""
    if not name.lower().startswith(_ANSWER_NAMES):
        return False
    values = [value.get("text") if isinstance(value, dict) else value for value in table.columns[name]]
    return _are(values, _is_choice)


def _right_column(table: DataTable, options: str) -> str | None:
    """A column that names one of each row's options, by its place or its text."""
    rows = table.columns[options]

    def names_one(column: list[Any]) -> bool:
        return all(
            value in choices if isinstance(value, str) else type(value) is int and 0 <= value < len(choices)
            for value, choices in zip(column, rows, strict=True)
        )

    return next((name for name, column in table.columns.items() if name != options and names_one(column)), None)


def _answer_column(table: DataTable, names: list[str]) -> str | None:
    """A column of text whose name says that it answers, behind another one of text."""
    texts = [name for name in names if all(isinstance(value, str) for value in table.columns[name])]
    return next((name for name in texts[1:] if name.lower().startswith(_ANSWER_NAMES) and name.isidentifier()), None)


def _letters(value: Any) -> int:
    return len(value) if isinstance(value, str) else sum(len(str(message["content"])) for message in value)


def _label_column(table: DataTable) -> str | None:
    """A column of few values, each on two rows or more: by its name, else the one of the fewest values."""
    counts = {
        name: Counter(str(value) for value in column if not _missing(value))
        for name, column in table.columns.items()
        if name.lower() not in _OWNER_NAMES and all(isinstance(v, (str, int)) or _missing(v) for v in column)
    }
    fit = {name: count for name, count in counts.items() if len(count) >= 2 and min(count.values()) >= 2}
    for wanted in _LABEL_NAMES:
        for name in fit:
            if name.lower().startswith(wanted):
                return name
    few = {name: len(count) for name, count in fit.items() if len(count) <= min(_MOST_LABELS, len(table) // 2)}
    return min(few, key=few.__getitem__, default=None)


def _text_columns(table: DataTable, names: list[str]) -> list[str]:
    """Columns of text among `names`, in their order; where there are several, those that hold words with spaces."""
    texts = [
        name
        for name in names
        if all(isinstance(value, str) for value in table.columns[name]) and not _is_number(table.columns[name])
    ]
    spaced = [name for name in texts if sum(" " in value for value in table.columns[name]) > len(table) / 2]
    chosen = spaced or texts[:1]
    if not chosen:
        raise DataError(f"data.path={table.origin}: no column of text (columns: {listed(list(table.columns))})")
    bad = next((name for name in chosen if not name.isidentifier()), None)
    if bad is not None:
        raise DataError(
            f"data.path={table.origin}: the column {shown(bad)} cannot stand in a prompt's braces: rename it, with "
            "letters, digits and _ only, as in review_text"
        )
    return chosen


def _label_words(table: DataTable, column: str, folder: Path) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """Words, rows of each, and whether they say what labels mean."""
    counts = Counter(str(value) for value in table.columns[column] if not _missing(value))
    listing = read_listing(folder, ())
    if listing.positions:
        words = tuple(sorted(listing.positions, key=listing.positions.__getitem__))
        return words, tuple(counts[word] + counts[str(index)] for index, word in enumerate(words)), True
    if not all(label.isdecimal() for label in counts):
        words = tuple(sorted(counts))
        return words, tuple(counts[word] for word in words), True
    numbers = sorted(map(int, counts))
    # Stars 1 … 5 are words of their own; numbers from 0 count the words.
    words = tuple(map(str, range(numbers[-1] + 1) if numbers[0] == 0 else numbers))
    return words, tuple(counts[word] for word in words), False


def _missing(value: Any) -> bool:
    return value is None or value != value or value == "" or value == -1 or value == "-1"


def _is_number(column: list[str]) -> bool:
    return all(value.strip().replace(".", "", 1).lstrip("+-").isdecimal() for value in column if value)
