"""What the answers of a run were worth: figures with intervals, the confusion matrix, figures by label, some rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from zorba_ray.artifacts import Eval, Run
from zorba_ray.artifacts.answers import Answer, AnsweredRow
from zorba_ray.report.figure import BLUE, PALE, Plot, legend, plot, shaded_cells, short
from zorba_ray.report.measures import interval_of
from zorba_ray.tables import Column, Table, wilson
from zorba_ray.tables.text import figure_name, text_count, text_figure, text_loss, text_percent, text_span

_MOST = 30
"""Labels that a figure shows."""
_WRITTEN = 12
"""Labels up to which cells hold their numbers."""


@dataclass(frozen=True)
class _Row:
    """One figure of one split."""

    name: str
    records: Sequence[Eval]

    def text(self, at: int) -> str | None:
        """At the first evaluation, or the last: the figure with its interval."""
        record = self.records[at]
        value = getattr(record, self.name)
        if value is None:
            return None
        span = interval_of(record, self.name)
        return text_figure(self.name, value) + (f" ({text_span(self.name, *span)})" if span else "")


def metrics_table(run: Run) -> Table:
    """Every figure of validation and test, at the start and at the end, against the majority class."""
    rows = [
        _Row(name, records)
        for split in ("validation", "test")
        if (records := run.until_kept(split))
        for name in Eval.FIGURES
        if any(getattr(record, name) is not None for record in records)
    ]
    columns: list[Column[_Row]] = [
        Column("Split", lambda row: row.records[0].split),
        Column("Figure", lambda row: figure_name(row.name)),
        Column("Zero-shot", lambda row: row.text(0) if row.records[0].round == 0 else None, str),
        Column("Last evaluation", lambda row: row.text(-1) if row.records[-1].round else None, str),
        Column("After round", lambda row: row.records[-1].round or None, str),
        Column("Rows", lambda row: row.records[-1].rows, "{:,}".format),
    ]
    if any(row.records[-1].majority for row in rows):
        show = Column[_Row](
            "Majority class", lambda row: text_figure(row.name, row.records[-1].majority.get(row.name)), str
        )
        columns.insert(2, show)
    note = (
        "In brackets: 95 % intervals over the rows; of accuracies and matches Wilson's, else by bootstrap. They know "
        "nothing of other seeds."
    )
    if len(columns) > 6:
        note += " Majority class: every row gets the label that most training rows have."
    return Table("Metrics", rows, columns, note)


def by_client_table(run: Run) -> Table:
    """Figures of the validation rows by client; empty where no row is with a client."""
    known = [record for record in run.until_kept("validation") if record.by_client]
    columns = [Column[str]("Figure", figure_name)]
    if not known:
        return Table("Validation by client", (), columns)
    last = known[-1]
    for record in (known[0], last) if known[0].round == 0 < last.round else (last,):
        when = f"round {record.round}" if record.round else "zero-shot"
        columns += [
            Column(f"{title}, {when}", partial(_of_clients, record, field), str)
            for title, field in (("Lowest", "min"), ("Median", "median"), ("Highest", "max"))
        ]
    rows, clients = last.by_client.get("rows"), text_count(run.config.federation.clients, "client")
    note = f"{last.clients or 0:,} of {clients}, each with its own validation rows"
    if rows is not None:
        note += f": {rows.min:,.0f} to {rows.max:,.0f}, median {rows.median:,.0f}"
    note += (
        ". They are dealt out as the training rows are; the model is the same for all. Of few rows, the lowest and the "
        "highest are mostly chance."
    )
    return Table("Validation by client", [name for name in Eval.FIGURES if name in last.by_client], columns, note)


def _of_clients(record: Eval, field: str, name: str) -> str | None:
    spread = record.by_client.get(name)
    return None if spread is None else text_figure(name, getattr(spread, field))


@dataclass(frozen=True)
class _ByLabel:
    """The last evaluation of a run that has a confusion matrix, and the zero-shot one of the same rows."""

    last: Eval
    start: Eval | None
    words: Sequence[str]
    """Of the labels."""

    @classmethod
    def of(cls, run: Run) -> "_ByLabel | None":
        """Of the test rows once they were evaluated after training, else of validation; None without a matrix."""
        known = {split: [r for r in run.until_kept(split) if r.confusion] for split in ("test", "validation")}
        records = known["test"] if known["test"] and known["test"][-1].round else known["validation"]
        if not records:
            return None
        last, words = records[-1], run.config.data.label_words
        start = records[0] if records[0].round == 0 < last.round else None
        return cls(last, start, [words[at] if at < len(words) else str(at) for at in range(len(last.confusion))])

    @property
    def when(self) -> str:
        """As in '480 test rows after round 60'."""
        after = f"after round {self.last.round}" if self.last.round else "before round 1"
        return f"{text_count(self.last.rows or 0, f'{self.last.split} row')} {after}"


@dataclass(frozen=True)
class _Label:
    """One label of a confusion matrix."""

    word: str
    having: int
    given: int
    right: int
    start: float | None
    """F1 at the start."""

    @property
    def f1(self) -> float | None:
        """None where no row has the label or is given it."""
        return 2 * self.right / (self.having + self.given) if self.having + self.given else None


def _labels(by_label: _ByLabel) -> list[_Label]:
    matrix = np.array(by_label.last.confusion)
    before = _labels(_ByLabel(by_label.start, None, by_label.words)) if by_label.start else None
    return [
        _Label(word, int(row.sum()), int(column.sum()), int(row[at]), before[at].f1 if before else None)
        for at, (word, row, column) in enumerate(zip(by_label.words, matrix, matrix.T, strict=True))
    ]


def labels_table(run: Run) -> Table:
    """Precision, recall and F1 by label; empty for a language model."""
    by_label = _ByLabel.of(run)

    def share(count: int, of: int) -> str | None:
        return f"{text_percent(count / of)} ({text_span('share', *wilson(count / of, of))})" if of else None

    columns: list[Column[_Label]] = [
        Column("Label", lambda label: label.word),
        Column("Rows", lambda label: label.having, "{:,}".format),
        Column("Given", lambda label: label.given, "{:,}".format),
        Column("Right", lambda label: label.right, "{:,}".format),
        Column("Recall", lambda label: share(label.right, label.having), str),
        Column("Precision", lambda label: share(label.right, label.given), str),
        Column("F1", lambda label: label.f1, "{:.3f}".format),
        Column("F1, zero-shot", lambda label: label.start, "{:.3f}".format),
    ]
    if by_label is None:
        return Table("Labels", (), columns)
    note = (
        f"{by_label.when}. Rows: those that have the label. Given: those that are given it. Recall is Right of Rows, "
        "precision is Right of Given; in brackets their 95 % intervals (Wilson)."
    )
    return Table("Labels", _labels(by_label), columns, note)


def answer_plots(run: Run) -> list[Plot]:
    """The confusion matrix, and F1 by label; nothing for a language model, or of more than 30 labels."""
    by_label = _ByLabel.of(run)
    return [] if by_label is None or len(by_label.words) > _MOST else [_matrix_plot(by_label), _labels_plot(by_label)]


def _matrix_plot(by_label: _ByLabel) -> Plot:
    counts, names = np.array(by_label.last.confusion), [short(word) for word in by_label.words]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shaded_cells(axes, shares)
        for (row, column), count in np.ndenumerate(counts) if len(names) <= _WRITTEN else ():
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=9)
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        crowded = max(map(len, names)) * len(names) > 40
        axes.set_xticks(range(len(names)), names, rotation=90 if crowded else 0)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="label that rows are given", ylabel="label that rows have")

    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    note = f"{by_label.when}. The bluer, the larger the share of the rows that have the label."
    if wrong.any():
        row, column = divmod(int(wrong.argmax()), len(names))
        note += (
            f" Most often wrong: {by_label.words[row]} taken for {by_label.words[column]}, "
            f"{text_count(wrong.max(), 'row')}."
        )
    return plot("Confusion matrix", draw, min(5.5, 1.7 + 0.33 * len(names)), note)


def _labels_plot(by_label: _ByLabel) -> Plot:
    labels = _labels(by_label)

    def draw(figure: Figure) -> None:
        axes, places = figure.add_subplot(), np.arange(len(labels))
        width = 0.36 if by_label.start else 0.72
        if by_label.start:
            axes.barh(places - width / 2, [label.start or 0 for label in labels], width, color=PALE, label="zero-shot")
        name = f"after round {by_label.last.round}" if by_label.last.round else "zero-shot"
        axes.barh(
            places + (width / 2 if by_label.start else 0),
            [label.f1 or 0 for label in labels],
            width,
            color=BLUE,
            label=name,
        )
        axes.set_yticks(places, [short(label.word) for label in labels])
        axes.set(xlim=(0, 1), ylim=(len(labels) - 0.4, -0.6), xlabel=f"F1 of {by_label.last.split} rows")
        axes.grid(False, axis="y")
        legend(figure, axes)

    return plot("F1 by label", draw, min(5.5, 1.2 + 0.36 * len(labels)), f"{by_label.when}. 1: every row right.")


def answered_rows_table(run: Run) -> Table:
    """Prompt, right answer and the model's; empty where the run kept none."""
    kept, known = run.kept_round, run.answers
    rows = known.rows if known is not None else ()
    after = known is not None and known.round is not None and known.round == kept
    columns: list[Column[AnsweredRow]] = [
        Column("Row", lambda row: row.row, "{:,}".format),
        Column("Prompt", lambda row: row.prompt, fold=True),
    ]
    if any(row.gold is not None for row in rows):
        columns.append(Column("Right answer", lambda row: row.gold, fold=True))
    columns.append(Column("Answer before training", lambda row: _said(row.before), fold=True))
    if after:
        columns.append(Column(f"Answer after round {kept}", lambda row: _said(row.after), fold=True))
    if known is None or not rows:
        return Table("Test rows", (), columns)
    note = f"{len(rows):,} of {text_count(known.of, 'test row')}, drawn at random by the run's seed; none was picked."
    if any(row.before and row.before.probability is not None for row in rows):
        note += " ✓: right. In brackets: how probable the model takes its answer to be."
    elif any(row.before and row.before.text is not None for row in rows):
        note += " ✓: an exact match."
    elif any(row.before for row in rows):
        note += " The loss is per token."
    if kept is None:
        note += " Answers after training come when the run ends."
    return Table("Test rows", rows, columns, f"{note} `zorba-ray report --no-rows` writes the page without them.")


def _said(answer: Answer | None) -> str | None:
    """As in '✓ great (57.8 %)', 'loss 1.2345'."""
    if answer is None:
        return None
    if answer.text is None:
        return f"loss {text_loss(answer.loss)}"
    sure = "" if answer.probability is None else f" ({text_percent(answer.probability)})"
    return f"{'✓ ' if answer.right else ''}{answer.text}{sure}"
