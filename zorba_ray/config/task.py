"""What the model has to do with a row: which task, and where its answer stands."""

from typing import Literal

from zorba_ray.config.base import StrictModel
from zorba_ray.config.template import TemplateText

TaskName = Literal["classification", "multiple_choice", "completion", "language_model"]


def is_reported(figure: str, kind: TaskName) -> bool:
    """Whether an evaluation of a task tells a figure: `loss`, `accuracy`, `perplexity`, … Options are a row's own, so
    that a multiple choice has no figures of classes."""
    if figure == "perplexity":
        return kind in ("language_model", "completion")
    if figure == "accuracy":
        return kind in ("classification", "multiple_choice")
    return kind == "classification" or figure not in ("balanced_accuracy", "macro_f1", "mcc")


class TaskConfig(StrictModel):
    """The task. `docs/data.md` shows data and settings of each."""

    kind: Literal["auto", "classification", "multiple_choice", "completion", "language_model"] = "auto"
    """`classification`: one of `data.label_words`. `multiple_choice`: one of the row's own options. `completion`: the
    loss on the answer alone. `language_model`: the loss on all tokens. `auto`: completion where `answer` or
    `messages_column` is set, multiple_choice where `options_column` is, language_model with `model.head=lm`, else
    classification."""
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

    def named(self, head: str) -> TaskName:
        """`kind`, with what `auto` stands for; `head`: `model.head`."""
        if self.kind != "auto":
            return self.kind
        if self.answer is not None or self.messages_column is not None:
            return "completion"
        if self.options_column is not None:
            return "multiple_choice"
        return "language_model" if head == "lm" else "classification"

    def require_consistent(self, head: str) -> None:
        """Raises ValueError: settings of another task than the one that is named, or one that is lacking."""
        kind = self.named(head)
        if head != "auto" and kind != ("language_model" if head == "lm" else "classification"):
            raise ValueError(f"model.head={head} with task.kind={kind}: leave model.head out, the task decides it")
        of = {"answer": "completion", "messages_column": "completion", "options_column": "multiple_choice"}
        for name, wanted in of.items():
            if getattr(self, name) is not None and kind != wanted:
                raise ValueError(f"task.{name} with task.kind={kind}: it belongs to {wanted}; leave one of them out")
        if kind == "completion" and (self.answer is None) == (self.messages_column is None):
            raise ValueError(
                "task.kind=completion needs either task.answer, a template as in '{output}', or task.messages_column, "
                "a column of chats"
            )
        if kind == "multiple_choice" and self.options_column is None:
            raise ValueError("task.kind=multiple_choice needs task.options_column, a column of lists of text")
        if self.per_token and kind not in ("classification", "multiple_choice"):
            raise ValueError(f"task.per_token=true with task.kind={kind}: only words and options are scored")
