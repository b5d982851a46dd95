"""A small folder of data of every task, whose words the built-in model knows."""

import json
from pathlib import Path
from typing import Any

from zorba_ray.data import SPLITS
from zorba_ray.data.grammar import TASK_LABEL_WORDS, task_split

COMPLETION = ('data.prompt="{text} it was"', 'task.answer="{grade}"')
TASKS: dict[str, tuple[str, ...]] = {
    "classification": (),
    "completion": COMPLETION,
    "language_model": ("task.kind=language_model", 'data.prompt="{text} it was {grade}"'),
}
"""Kind -> what a configuration on such a folder sets."""


def write_rows(folder: Path, rows: list[dict[str, Any]], splits: tuple[str, ...] = SPLITS) -> Path:
    """The same rows as JSONL, for each split."""
    folder.mkdir(exist_ok=True)
    for split in splits:
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def review_rows(count: int = 64) -> list[dict[str, Any]]:
    """Reviews with their grade as text, as a label, and among options."""
    words = list(TASK_LABEL_WORDS)
    return [
        {"text": text, "grade": words[label], "label": label, "options": words, "right": label}
        for text, label in task_split("train")[:count]
    ]
