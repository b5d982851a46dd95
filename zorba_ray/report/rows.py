"""Some test rows of a run with the answers before and after training."""

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.answers import Answer, AnsweredRow
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import text_count, text_loss, text_percent


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
