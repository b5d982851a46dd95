"""What the model has to do with a row: which task, and where its answer stands."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from zorba_ray.config.base import StrictModel
from zorba_ray.config.template import TemplateText

TaskName = Literal["classification", "multiple_choice", "completion", "generation", "language_model"]
ScoreName = Literal["token_f1", "exact_match", "rouge_l", "number_match"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)
DECODED: tuple[TaskName, ...] = ("generation",)
"""Tasks in which the model writes answers."""
_COMPLETED: tuple[TaskName, ...] = ("completion", "generation")
_BELONGS: dict[str, tuple[TaskName, ...]] = {
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


def is_reported(figure: str, task: "TaskConfig", kind: TaskName) -> bool:
    """Whether an evaluation of a task tells a figure: `loss`, `accuracy`, `perplexity`, … Options are a row's own, so
    that a multiple choice has no figures of classes."""
    if figure in SCORES:
        return kind in DECODED and figure in task.scores
    if figure == "perplexity":
        return kind in ("language_model", *_COMPLETED)
    if figure == "accuracy":
        return kind in ("classification", "multiple_choice")
    return kind == "classification" or figure not in ("balanced_accuracy", "macro_f1", "mcc")


class TaskConfig(StrictModel):
    """The task. `docs/data.md` shows data and settings of each."""

    kind: Literal["auto", "classification", "multiple_choice", "completion", "generation", "language_model"] = "auto"
    """`classification`: one of `data.label_words`. `multiple_choice`: one of the row's own options. `completion`: the
    loss on the answer alone. `generation`: trained as a completion; an evaluation lets the model write its answers and
    scores them. `language_model`: the loss on all tokens. `auto`: generation where `references_column` is set,
    completion where `answer` or `messages_column` is, multiple_choice where `options_column` is, language_model with
    `model.head=lm`, else classification."""
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

    def named(self, head: str) -> TaskName:
        """`kind`, with what `auto` stands for; `head`: `model.head`."""
        if self.kind != "auto":
            return self.kind
        if self.references_column is not None:
            return "generation"
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
        for name, tasks in _BELONGS.items():
            value = getattr(self, name)
            if value != type(self).model_fields[name].default and kind not in tasks:
                shown = "true" if value is True else value
                raise ValueError(
                    f"task.{name}={shown} with task.kind={kind}: it belongs to {' and '.join(tasks)}; leave one of "
                    "them out"
                )
        if kind in _COMPLETED and (self.answer is None and not self.references_column) == (
            self.messages_column is None
        ):
            more = " or task.references_column, a column of right answers" if kind == "generation" else ""
            raise ValueError(
                f"task.kind={kind} needs either task.answer, a template as in '{{output}}'{more}, or "
                "task.messages_column, a column of chats"
            )
        if kind == "multiple_choice" and self.options_column is None:
            raise ValueError("task.kind=multiple_choice needs task.options_column, a column of lists of text")
        if len(set(self.scores)) < len(self.scores):
            raise ValueError(f"task.scores {list(self.scores)} must name each score once")
