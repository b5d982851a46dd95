"""What the model has to do with a row: which task, and where its answer stands."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from zorba_ray.config.base import StrictModel
from zorba_ray.config.template import TemplateText

RowKind = Literal["classification", "multiple_choice", "completion", "generation", "language_model"]
TaskName = RowKind | Literal["reward"]
ScoreName = Literal["token_f1", "exact_match", "rouge_l", "number_match"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)
DECODED: tuple[RowKind, ...] = ("generation",)
"""Tasks in which the model writes answers."""
_COMPLETED: tuple[RowKind, ...] = ("completion", "generation")
_BELONGS: dict[str, tuple[RowKind, ...]] = {
    "answer": _COMPLETED,
    "messages_column": _COMPLETED,
    "options_column": ("multiple_choice",),
    "references_column": DECODED,
    "max_new_tokens": DECODED,
    "until": DECODED,
    "scores": DECODED,
    "per_token": ("classification", "multiple_choice"),
}
"""Setting -> tasks that it belongs to."""


def is_reported(figure: str, task: "TaskConfig", kind: RowKind) -> bool:
    """Whether an evaluation of a task tells a figure: `loss`, `accuracy`, `perplexity`, … Options are a row's own, so
    that a multiple choice has no figures of classes.

    Args:
        kind: what a row is.
    """
    if figure == "reward":
        return task.is_reward
    if figure in SCORES:
        return kind in DECODED and figure in task.scores
    if figure == "perplexity":
        return kind in ("language_model", *_COMPLETED)
    if figure == "accuracy":
        return kind in ("classification", "multiple_choice")
    return kind == "classification" or figure not in ("balanced_accuracy", "macro_f1", "mcc")


class TaskConfig(StrictModel):
    """The task. `docs/data.md` shows data and settings of each."""

    kind: Literal[
        "auto", "classification", "multiple_choice", "completion", "generation", "language_model", "reward"
    ] = "auto"
    """`classification`: one of `data.label_words`. `multiple_choice`: one of the row's own options. `completion`: the
    loss on the answer alone. `generation`: trained as a completion; an evaluation lets the model write its answers and
    scores them. `language_model`: the loss on all tokens. `reward`: what a function says of the answers, without any
    loss. `auto`: reward where `reward` is set, generation where `references_column` is, completion where `answer` or
    `messages_column` is, multiple_choice where `options_column` is, language_model with `model.head=lm`, else
    classification."""
    answer: TemplateText | None = None
    """Template of the answer of a completion or generation, which follows `data.prompt`, as in "{output}". Left out
    where `references_column` is set: a row's first right answer."""
    messages_column: str | None = None
    """Column of chats, for a completion or generation: lists of {role, content}. The tokenizer's own chat template
    writes them. A generation writes the last turn of the assistant anew."""
    references_column: str | None = None
    """Column of the right answers of a generation: a text, or a list of texts of which any counts. Left out: the answer
    that is learnt."""
    max_new_tokens: int = Field(default=64, ge=1, le=100_000)
    """Most tokens that a generation writes behind a prompt."""
    until: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(default=(), max_length=20)
    """Texts before the first of which an answer of a generation ends, beside the tokenizer's end of text, as in
    ["\\n"]."""
    scores: tuple[ScoreName, ...] = Field(default=("token_f1", "exact_match", "rouge_l"), min_length=1, max_length=4)
    """What the answers of a generation are scored by; a report's headline has the first. `token_f1` and `exact_match`:
    as SQuAD does. `rouge_l`: ROUGE-L. `number_match`: the last number of the answer is that of the reference, as for
    GSM8K."""
    options_column: str | None = None
    """Column of a multiple choice: lists of text. `data.label_column` is the position of the right one, counted from 0,
    or its text."""
    per_token: bool = False
    """A word or option of several tokens is scored by the mean of their log-probabilities, not by the sum: long ones
    are then no rarer than short ones."""
    reward: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")] | None = None
    """`module:function` of a reward. The function takes two lists of text, what the model answered and what is right,
    and returns a number for each pair; more is better. The model learns what raises the mean. Code of yours runs only
    with `--allow-code MODULE`."""

    def named(self, head: str) -> TaskName:
        """`kind`, with what `auto` stands for; `head`: `model.head`."""
        return "reward" if self.is_reward else self.row_kind(head)

    @property
    def is_reward(self) -> bool:
        """Whether the task is a reward."""
        return self.kind == "reward" or (self.kind == "auto" and self.reward is not None)

    def row_kind(self, head: str) -> RowKind:
        """What a row is, and how its answer is read off the model: `named`, but of a reward the task whose answers it
        judges."""
        if self.kind not in ("auto", "reward"):
            return self.kind
        if self.references_column is not None:
            return "generation"
        if self.answer is not None or self.messages_column is not None:
            return "generation" if self.is_reward else "completion"
        if self.options_column is not None:
            return "multiple_choice"
        return "language_model" if head == "lm" else "classification"

    def require_consistent(self, head: str) -> None:
        """Raises ValueError: settings of another task than the one that is named, or one that is lacking."""
        kind, rows = self.named(head), self.row_kind(head)
        if kind == "reward":
            self._require_answers(rows)
        elif self.reward is not None:
            raise ValueError(f"task.reward with task.kind={kind}: set task.kind=reward, or leave task.reward out")
        if head != "auto" and rows != ("language_model" if head == "lm" else "classification"):
            raise ValueError(f"model.head={head} with task.kind={kind}: leave model.head out, the task decides it")
        for name, tasks in _BELONGS.items():
            value = getattr(self, name)
            if value != type(self).model_fields[name].default and rows not in tasks:
                shown = "true" if value is True else value
                raise ValueError(
                    f"task.{name}={shown} with task.kind={kind}: it belongs to {' and '.join(tasks)}; leave one of "
                    "them out"
                )
        if rows in _COMPLETED and (self.answer is None and not self.references_column) == (
            self.messages_column is None
        ):
            more = " or task.references_column, a column of right answers" if rows == "generation" else ""
            raise ValueError(
                f"task.kind={kind} needs either task.answer, a template as in '{{output}}'{more}, or "
                "task.messages_column, a column of chats"
            )
        if rows == "multiple_choice" and self.options_column is None:
            raise ValueError("task.kind=multiple_choice needs task.options_column, a column of lists of text")
        if len(set(self.scores)) < len(self.scores):
            raise ValueError(f"task.scores {list(self.scores)} must name each score once")

    def _require_answers(self, rows: RowKind) -> None:
        """Raises ValueError: a reward without a function, or of rows that have no answer."""
        if self.reward is None:
            raise ValueError(
                "task.kind=reward needs task.reward, a function as in task.reward=zorba_ray.tasks.rewards:exact_match"
            )
        if rows == "language_model":
            raise ValueError(
                "task.kind=reward with model.head=lm: a text has no answer that a reward could judge; give "
                "data.label_words, task.options_column, task.answer or task.references_column"
            )
