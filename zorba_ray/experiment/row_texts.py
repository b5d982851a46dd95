"""How rows and the answers to them read: prompt, right answer, and what the model says."""

from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.artifacts.answers import Answer
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Split, render_prompts
from zorba_ray.data.list_columns import ASSISTANT, Chat, chat_text, unanswered
from zorba_ray.metrics import exact_match
from zorba_ray.models import Evaluation


@dataclass(frozen=True)
class RowTexts:
    """Some rows as text."""

    prompts: Sequence[str]
    """Whole: of a row that is too long the model reads a part."""
    gold: Sequence[str | None]
    """The right answers; None where a row has none."""
    options: Sequence[Sequence[str]]
    """What each row chooses among: label words, or its own options; none where it chooses nothing."""
    references: Sequence[Sequence[str]] | None = None
    """The right answers of each row, where the model writes one."""

    @classmethod
    def of(
        cls, split: Split, config: ExperimentConfig, references: Sequence[Sequence[str]] | None = None
    ) -> "RowTexts":
        """Of all rows of a split; where its labels were not read, the first word or option stands as the right one.

        Args:
            references: the right answers of each row, where the model writes one. Of a chat that was cut they say
                which turn that is.
        """
        none: Sequence[Sequence[str]] = [()] * len(split)
        if split.chats is not None:
            said = [None if references is None else references[row][0] for row in range(len(split))]
            turns = [_last_turn(chat, answer) for chat, answer in zip(split.chats, said, strict=True)]
            prompts = [chat_text(chat[:turn]) for chat, turn in zip(split.chats, turns, strict=True)]
            gold = [chat[turn]["content"] for chat, turn in zip(split.chats, turns, strict=True)]
            return cls(prompts, gold, none, references)
        prompts = render_prompts(split.columns, config.data.prompt)
        if references is not None:
            return cls(prompts, [" / ".join(answers) for answers in references], none, references)
        if config.task.answer is not None:
            answers = render_prompts(split.columns, config.task.answer)
            return cls(prompts, [answer.lstrip(" ") for answer in answers], none)
        options = none if split.options is None else split.options
        if config.row_kind == "classification":
            options = [config.data.label_words] * len(split)
        labels = zip(options, split.labels.tolist(), strict=True)
        return cls(prompts, [own[label] if own else None for own, label in labels], options)

    def scores(self, row: int, answers: Evaluation, place: int) -> dict[str, float]:
        """Probability of each word or option of a row; empty where it chooses nothing.

        Args:
            answers: with scores.
            place: of the row in them.
        """
        if answers.row_scores is None:
            return {}
        return dict(zip(self.options[row], answers.row_scores[place].tolist(), strict=False))

    def answer(self, row: int, answers: Evaluation, place: int) -> Answer:
        """What the model says to a row; arguments as of `scores`."""
        text, probability, right = None, None, None
        if answers.row_texts is not None and self.references is not None:
            text = answers.row_texts[place]
            right = any(exact_match(text, reference) for reference in self.references[row])
        elif answers.row_labels is not None and self.options[row]:
            text = self.options[row][int(answers.row_labels[place])]
            probability, right = self.scores(row, answers, place).get(text), text == self.gold[row]
        items = int(answers.row_items[place])
        loss = float(answers.row_losses[place]) / items
        return Answer(text=text, probability=probability, right=right, loss=loss, items=items)


def waiting_prompts(split: Split, config: ExperimentConfig) -> list[str]:
    """What the model is to answer, row by row; of a chat all of it, but for an answer that it ends with."""
    if split.chats is None:
        return render_prompts(split.columns, config.data.prompt)
    return [chat_text(unanswered(chat)) for chat in split.chats]


def _last_turn(chat: Chat, said: str | None = None) -> int:
    """Place of the last message in which the assistant says this; None: of its last one."""
    return max(
        place
        for place, message in enumerate(chat)
        if message["role"] == ASSISTANT and said in (None, message["content"])
    )
