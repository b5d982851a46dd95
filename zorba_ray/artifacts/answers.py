"""answers.json: some test rows, and what the model answers to them before and after training."""

from zorba_ray.artifacts.record import Count, Record


class Answer(Record, kw_only=True):
    """What the model says to one row."""

    text: str | None = None
    """A label word, an option, or what it writes; None where the task has a loss alone."""
    probability: float | None = None
    """Of this word or option among all of the row."""
    right: bool | None = None
    """Whether it is the right word or option, or a right answer by exact match; None where there is no text."""
    loss: float
    """Mean over `items`."""
    items: Count = 1
    """The row itself, or the tokens that its loss counts."""


class AnsweredRow(Record, kw_only=True):
    """One row."""

    row: Count
    """In the test split, counted from 1."""
    prompt: str
    gold: str | None = None
    """The right answer; None where a row has none, as in plain text."""
    before: Answer | None = None
    """Before round 1; None: not on record."""
    after: Answer | None = None
    """After `SampledAnswers.round`."""


class SampledAnswers(Record, kw_only=True):
    """Rows drawn at random from the test split, by the run's seed; ascending."""

    of: Count
    """Rows of the split."""
    round: Count | None = None
    """The round of `after`; None: none yet."""
    rows: tuple[AnsweredRow, ...]
