"""What the model has to do with a row: which task, and where its answer stands."""

from typing import Annotated, Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel
from zorba_ray.config.template import TemplateText

RowKind = Literal["classification", "multiple_choice", "completion", "language_model"]
TaskName = RowKind | Literal["reward"]


def is_reported(figure: str, kind: RowKind, rewarded: bool) -> bool:
    """Whether an evaluation tells a figure: `loss`, `accuracy`, `perplexity`, … Options are a row's own, so that a
    multiple choice has no figures of classes.

    Args:
        kind: what a row is.
        rewarded: the task is a reward.
    """
    if figure == "reward":
        return rewarded
    if figure == "perplexity":
        return kind in ("language_model", "completion")
    if figure == "accuracy":
        return kind in ("classification", "multiple_choice")
    return kind == "classification" or figure not in ("balanced_accuracy", "macro_f1", "mcc")


class TaskConfig(StrictModel):
    """The task. `docs/data.md` shows data and settings of each."""

    kind: Literal["auto", "classification", "multiple_choice", "completion", "language_model", "reward"] = "auto"
    """`classification`: one of `data.label_words`. `multiple_choice`: one of the row's own options. `completion`: the
    loss on the answer alone. `language_model`: the loss on all tokens. `reward`: what a function of yours says of the
    answers, without any loss. `auto`: reward where `reward` is set, completion where `answer` or `messages_column` is,
    multiple_choice where `options_column` is, language_model with `model.head=lm`, else classification."""
    answer: TemplateText | None = None
    """Template of the answer of a completion, which follows `data.prompt`, as in "{output}"."""
    messages_column: str | None = None
    """Column of chats, for a completion: lists of {role, content}. The tokenizer's own chat template writes them."""
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
        if self.kind == "reward" or (self.kind == "auto" and self.reward is not None):
            return "reward"
        return self.row_kind(head)

    def row_kind(self, head: str) -> RowKind:
        """What a row is, and how its answer is read off the model: `named`, but of a reward the task whose answers it
        judges."""
        if self.kind not in ("auto", "reward"):
            return self.kind
        if self.answer is not None or self.messages_column is not None:
            return "completion"
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
        of = {"answer": "completion", "messages_column": "completion", "options_column": "multiple_choice"}
        for name, wanted in of.items():
            if getattr(self, name) is not None and rows != wanted:
                raise ValueError(f"task.{name} with task.kind={kind}: it belongs to {wanted}; leave one of them out")
        if rows == "completion" and (self.answer is None) == (self.messages_column is None):
            raise ValueError(
                "task.kind=completion needs either task.answer, a template as in '{output}', or task.messages_column, "
                "a column of chats"
            )
        if rows == "multiple_choice" and self.options_column is None:
            raise ValueError("task.kind=multiple_choice needs task.options_column, a column of lists of text")
        if self.per_token and rows not in ("classification", "multiple_choice"):
            raise ValueError(f"task.per_token=true with task.kind={kind}: only words and options are scored")

    def _require_answers(self, rows: RowKind) -> None:
        """Raises ValueError: a reward without a function, or of rows that have no answer."""
        if self.reward is None:
            raise ValueError(
                "task.kind=reward needs task.reward, a function as in task.reward=zorba_ray.tasks.rewards:exact_match"
            )
        if rows not in ("classification", "multiple_choice"):
            raise ValueError(
                f"task.kind=reward with rows of a {rows}: they have no answer that a reward could judge; give "
                "data.label_words or task.options_column"
            )
