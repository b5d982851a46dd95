"""Proposes what the columns of a data file are for: text of the prompt, labels, owners. The user may correct it."""

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
"""How the name of a label column begins; the best sign first."""
_OWNER_NAMES = ("client", "client_id", "hospital", "site", "user", "user_id", "owner", "author", "speaker", "subject")
_ANSWER_NAMES = ("output", "answer", "response", "completion", "reply", "summary", "translation")
"""How the name of a column of answers begins."""
_MOST_LABELS = 20
"""Most distinct values of a label column whose name is not one of `_LABEL_NAMES`."""
_LETTERS_PER_TOKEN = 4
"""A guess for English; the run itself counts tokens."""


@dataclass(frozen=True)
class DataProposal:
    """How a file may be read."""

    rows: int
    """Rows of the training file."""
    prompt: str
    """Template with the text columns in braces."""
    label_column: str | None
    """None: no column looks like a label, so the model learns the text itself."""
    label_words: tuple[str, ...]
    """One per label, in label order."""
    label_rows: tuple[int, ...]
    """Rows of each label."""
    named: bool
    """The label words are names, from the file or labels.json; False: bare numbers, which say nothing to a model."""
    owner_column: str | None
    """Column that may name the owner of each row."""
    owners: int
    """Number of its distinct values; 0 without such a column."""
    max_length: int
    """Tokens that are enough for 19 of 20 rows, guessed from their letters; a power of two."""
    answer_column: str | None = None
    """Of a completion: the column of the answer. None: no column looks like one."""
    options_column: str | None = None
    """Of a multiple choice: the column of the lists of options. `label_column` says which option is right."""
    messages_column: str | None = None
    """Of a completion of chats: the column of the messages."""
    references_column: str | None = None
    """Of a generation: the column of the lists of right answers."""

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
    """Reads all rows of a file, or of a folder's training file.

    Raises:
        DataError: the file cannot be read, a column has lists of unknown use, or no text column fits into a prompt.
    """
    file, kind = training_file(path)
    table = read_table(file, kind, column_names(file, kind))
    names = list(table.columns)
    chats = next((name for name in names if _are(table.columns[name], _is_chat)), None)
    options = next((name for name in names if _are(table.columns[name], _is_choice)), None)
    right_column = None if options is None else _right_column(table, options)
    lists = [name for name in names if any(isinstance(value, (list, dict)) for value in table.columns[name])]
    answers = None if chats or right_column else next((name for name in lists if _are_answers(table, name)), None)
    other = next((name for name in lists if name != answers), None)
    if other is not None and chats is None and right_column is None:
        raise DataError(
            f"data.path={table.origin}: the column {shown(other)} holds lists, and they are neither chats (lists of "
            "role and content) nor options with a column that says which is right, nor right answers (lists of text in "
            "a column with such a name); drop the column, or write text"
        )
    owner = next((name for name in names if name.lower() in _OWNER_NAMES), None)
    label = right_column or (None if chats or answers else _label_column(table))
    plain = [name for name in names if name not in (label, owner, options, answers) and name != chats]
    answer = None if label or chats or answers else _answer_column(table, plain)
    end = answer or answers
    before_answer = [name for name in plain if end is None or names.index(name) < names.index(end)] or plain
    texts = [chats] if chats else _text_columns(table, before_answer)
    words, counts, named = ((), (), True)
    if label is not None and right_column is None:
        words, counts, named = _label_words(table, label, file.parent)
    text_names = [name for name in (*texts, answer) if name is not None]
    lengths = [sum(_letters(table.columns[name][row]) for name in text_names) for row in range(len(table))]
    tokens = sorted(lengths)[int(0.95 * (len(lengths) - 1))] / _LETTERS_PER_TOKEN + 8
    ending = "\nAnswer:" if answer or answers or right_column else " It was" if label else ""
    return DataProposal(
        rows=len(table),
        prompt=" ".join(f"{{{name}}}" for name in texts) + ending,
        label_column=label,
        label_words=words,
        label_rows=counts,
        named=named,
        owner_column=owner,
        owners=len(set(map(str, table.columns[owner]))) if owner else 0,
        max_length=min(512, max(32, 2 ** (int(tokens) - 1).bit_length())),
        answer_column=answer,
        options_column=options if right_column else None,
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
    """A text column with the name of an answer, after at least one other text column."""
    texts = [name for name in names if all(isinstance(value, str) for value in table.columns[name])]
    return next((name for name in texts[1:] if name.lower().startswith(_ANSWER_NAMES) and name.isidentifier()), None)


def _letters(value: Any) -> int:
    return len(value) if isinstance(value, str) else sum(len(str(message["content"])) for message in value)


def _label_column(table: DataTable) -> str | None:
    """A column of few distinct values, each in at least two rows.

    First choice is a column with a name of `_LABEL_NAMES`, then the one with the fewest values.
    """
    counts = {
        name: Counter(str(value) for value in column if not _missing(value))
        for name, column in table.columns.items()
        if name.lower() not in _OWNER_NAMES and all(isinstance(v, (str, int)) or _missing(v) for v in column)
    }
    fit = {name: count for name, count in counts.items() if len(count) >= 2 and min(count.values()) >= 2}
    for prefix in _LABEL_NAMES:
        for name in fit:
            if name.lower().startswith(prefix):
                return name
    candidates = {name: len(count) for name, count in fit.items() if len(count) <= min(_MOST_LABELS, len(table) // 2)}
    return min(candidates, key=candidates.__getitem__, default=None)


def _text_columns(table: DataTable, names: list[str]) -> list[str]:
    """The text columns among `names`, in their order. Columns of single words are left out if others have spaces."""
    texts = [
        name
        for name in names
        if all(isinstance(value, str) for value in table.columns[name]) and not _is_number(table.columns[name])
    ]
    spaced = [name for name in texts if sum(" " in value for value in table.columns[name]) > len(table) / 2]
    chosen = spaced or texts[:1]
    if not chosen:
        raise DataError(f"data.path={table.origin}: no column of text (columns: {listed(list(table.columns))})")
    unusable = next((name for name in chosen if not name.isidentifier()), None)
    if unusable is not None:
        raise DataError(
            f"data.path={table.origin}: the column {shown(unusable)} cannot stand in a prompt's braces: rename it; "
            "use letters, digits and _ only, as in review_text"
        )
    return chosen


def _label_words(table: DataTable, column: str, folder: Path) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """The label words, the rows of each, and `DataProposal.named`."""
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
