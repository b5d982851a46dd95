"""How rows and the answers to them read: prompt, right answer, and what the model says."""

from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.artifacts.answers import Answer
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Split, prompt_columns, render_prompts
from zorba_ray.data.chats import ASSISTANT, Chat, chat_text
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

    @classmethod
    def of(cls, split: Split, config: ExperimentConfig) -> "RowTexts":
        """Of all rows of a split; where its labels were not read, the first word or option stands as the right one."""
        count, kind = len(split), config.row_kind
        if split.chats is not None:
            asked = [_before_the_answer(chat) for chat in split.chats]
            return cls([chat_text(chat) for chat, _ in asked], [answer for _, answer in asked], [()] * count)
        prompts = render_prompts(split.columns, config.data.prompt)
        if split.references is not None:
            return cls(prompts, [" / ".join(answers) for answers in split.references], [()] * count)
        if config.task.answer is not None and set(prompt_columns(config.task.answer)) <= split.columns.keys():
            answers = render_prompts(split.columns, config.task.answer)
            return cls(prompts, [answer.lstrip(" ") for answer in answers], [()] * count)
        options: Sequence[Sequence[str]] = [()] * count
        if kind == "classification":
            options = [config.data.label_words] * count
        elif split.options is not None:
            options = split.options
        gold = [own[label] if own else None for own, label in zip(options, split.labels.tolist(), strict=True)]
        return cls(prompts, gold, options)

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
        text, probability = None, None
        if answers.row_texts is not None:
            text = answers.row_texts[place]
        if answers.row_labels is not None and self.options[row]:
            text = self.options[row][int(answers.row_labels[place])]
            probability = self.scores(row, answers, place).get(text)
        items = int(answers.row_items[place])
        return Answer(text=text, probability=probability, loss=float(answers.row_losses[place]) / items, items=items)


def _before_the_answer(chat: Chat) -> tuple[Chat, str]:
    """What stands before the assistant's last turn, and that turn."""
    last = max(place for place, message in enumerate(chat) if message["role"] == ASSISTANT)
    return chat[:last], chat[last]["content"]
