"""Warnings about the data, before the first round: faults that make the figures of a run mean little."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from zorba_ray.data.prompts import Cut, render_prompts
from zorba_ray.data.tasks import Task
from zorba_ray.errors import DataError
from zorba_ray.printable import listed, shown


def data_doubts(
    task: Task, template: str, words: Sequence[str], samples: Sequence[int], cuts: Mapping[str, Cut]
) -> list[str]:
    """Warnings, worst first; an empty list for data without faults.

    Args:
        template: `data.prompt`.
        words: `data.label_words`; none where the head has no labels.
        samples: |D_n|, training examples of each client.
        cuts: by split, the rows that data.max_length shortened; from `encode_rows`.

    Raises:
        DataError: all training rows have the same label, so a model that always says it is always right.
    """
    return [*(_classes(task, words) if words else []), *_texts(task, template), *_others(samples, cuts)]


def _classes(task: Task, words: Sequence[str]) -> Iterator[str]:
    counts = np.bincount(task.train.labels, minlength=len(words))
    present = np.flatnonzero(counts)
    if len(present) == 1:
        raise DataError(
            f"all {len(task.train):,} training rows have label {present[0]} ({shown(words[present[0]])}): there is "
            "nothing to learn from one class; add rows of another, or check data.label_column"
        )
    absent = [word for word, count in zip(words, counts, strict=True) if not count]
    if absent:
        yield (
            f"{len(absent)} of {len(words)} entries of data.label_words have no training row ({listed(absent)}): the "
            "model can only learn never to say them"
        )
    for name, split in (("validation", task.validation), ("test", task.test)):
        labels = np.unique(split.labels)
        if len(labels) == 1:
            yield (
                f"all {len(split):,} {name} rows have label {labels[0]} ({shown(words[labels[0]])}): accuracy says "
                "nothing about the other labels"
            )


def _texts(task: Task, template: str) -> Iterator[str]:
    splits = {"training": task.train, "validation": task.validation, "test": task.test}
    for name, split in splits.items():
        rows = list(zip(*split.columns.values(), strict=True))
        blank = [index for index, row in enumerate(rows) if not any(map(str.strip, row))]
        if blank:
            yield f"{_share(len(blank), len(rows))} {name} rows have no text (the first is row {blank[0] + 1})"
    prompts = {name: render_prompts(split.columns, template) for name, split in splits.items()}
    for first, second in (("training", "validation"), ("training", "test"), ("validation", "test")):
        earlier = set(prompts[first])
        if again := sum(text in earlier for text in prompts[second]):
            yield (
                f"{_share(again, len(prompts[second]))} {second} rows have a prompt that is in the {first} rows too: "
                f"the {second} figures look better than they are"
            )


def _others(samples: Sequence[int], cuts: Mapping[str, Cut]) -> Iterator[str]:
    single = [client for client, count in enumerate(samples) if count == 1]
    if single:
        yield f"{_share(len(single), len(samples))} clients have a single training row (clients {listed(single)})"
    for name, cut in cuts.items():
        if cut.rows and cut.rows == cut.total:
            yield (
                f"all {cut.total:,} rows of {name} are longer than data.max_length and lose their end: "
                f"{cut.tokens_after:,} of {cut.tokens_before:,} tokens are read"
            )


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole:.1f} %)"
