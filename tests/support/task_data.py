"""A small folder of data of every task, whose words the built-in model knows."""

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from zorba_ray.data import SPLITS
from zorba_ray.data.grammar import TASK_LABEL_WORDS, task_split

COMPLETION = ('data.prompt="{text} it was"', 'task.answer="{grade}"')
REWARD = ("task.reward=zorba_ray.tasks.rewards:exact_match", "zo.perturbation_scale=0.1")
TASKS: dict[str, tuple[str, ...]] = {
    "classification": (),
    "whole words": ('data.prompt="{text} it was"', "data.label_words=[terrible, poor, good, very great]"),
    "multiple_choice": ('data.prompt="{text} it was"', "task.options_column=options", "data.label_column=right"),
    "completion": COMPLETION,
    "chat": ("task.messages_column=messages",),
    "generation": ('data.prompt="{text} it was"', "task.references_column=answers", "task.max_new_tokens=3"),
    "language_model": ("task.kind=language_model", 'data.prompt="{text} it was {grade}"'),
    "reward": REWARD,
    "reward of options": (
        *REWARD,
        'data.prompt="{text} it was"',
        "task.options_column=options",
        "data.label_column=right",
    ),
    "reward of written answers": (*REWARD, *COMPLETION, "task.max_new_tokens=2"),
}
"""Task -> what a configuration on such a folder sets."""


def write_rows(folder: Path, rows: list[dict[str, Any]], splits: tuple[str, ...] = SPLITS) -> Path:
    """The same rows as JSONL, for each split."""
    folder.mkdir(exist_ok=True)
    for split in splits:
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


CHAT_TEMPLATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must alternate') }}{% endif %}"
    "{{ m.content + (' it was ' if m.role == 'user' else ' </s> ') }}{% endfor %}"
)


def chat_model(folder: Path, template: str | None = CHAT_TEMPLATE) -> Path:
    """The built-in model, whose tokenizer has a chat template."""
    shutil.copytree(str(resources.files("zorba_ray") / "models" / "builtin"), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}), "utf-8")
    return folder


def review_rows(count: int = 64) -> list[dict[str, Any]]:
    """Reviews with their grade as text, as a label, among options, as right answers, and as the answer in a chat."""
    words = list(TASK_LABEL_WORDS)
    return [
        {
            "text": text,
            "grade": words[label],
            "label": label,
            "options": words[: max(2, label + 1)],
            "right": label,
            "answers": [words[label], f"a {words[label]} one"],
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": words[label]}],
        }
        for text, label in task_split("train")[:count]
    ]
