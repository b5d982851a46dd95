"""The built-in language: a small grammar that writes a four-class review task.

Why our own: the demonstration and the tests need a pretrained model and a task with no download, no licence question
and no library in between. Everything here comes from a seed, through a number stream of our own, with the standard
library only.

**The task.** A review of one or two clauses; the label is how good the MAIN clause says the thing was, in four grades:
terrible, poor, good, great. A clause holds a phrase, and the phrase has a grade by rule, not by a word alone:

- 48 adjectives in four strengths; `not` turns a phrase around ("not nice" is poor, "not superb" is poor, "not
  dreadful" is good); `very` makes a mild word strong ("very nice" is great); `slightly` makes a strong one mild
  ("slightly dreadful" is poor).
- With two clauses the conjunction says which one counts ("although A , B" and "A but B": B; "A even though B": A).
  The other clause is of the other sign, so that counting words does not answer.

**The model.** `tools.builtin_text` wrote the text that the built-in model was pretrained on. The skill is in that text,
and the prompt does not call it. So the task flatters every fine-tuning method: its curves show that the machinery
works, not what it does on a hard task.

**Splits.** A review's text falls into one of ten buckets by its SHA-256; pretraining, train, validation and test own
different buckets, so that they are disjoint for every size and seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import islice
from typing import Any, Literal

SplitName = Literal["train", "validation", "test"]

TASK_PROMPT = "{text} It was"
"""How a task text is put to the model; the label words compete for the next token."""

TASK_LABEL_WORDS = ["terrible", "poor", "good", "great"]
"""Label i is the word TASK_LABEL_WORDS[i]; each is one token of the built-in tokenizer, with or without a space."""

TASK_SIZES: dict[SplitName, int] = {"train": 4096, "validation": 512, "test": 1024}
"""Rows of each split when `task_split` is given no size."""

TASK_SEED = 2026
"""Seed of the task as shipped."""

_BUCKETS = {"pretraining": range(4), "train": range(4, 8), "validation": range(8, 9), "test": range(9, 10)}

TABLES = json.loads(resources.files("zorba_ray.data").joinpath("grammar.json").read_text(encoding="utf-8"))
"""The words. `adjectives` and `deeds` (what people did) by grade 0 … 3 = terrible, poor, good, great; `domains` with
their parts and the crowd's habitual grade, if they have one. No label word stands in a review."""
ADJECTIVES: list[list[str]] = [words.split() for words in TABLES["adjectives"]]
DOMAINS: dict[str, dict[str, Any]] = TABLES["domains"]


class _Stream:
    """Numbers from SplitMix64 (Steele, Lea, Flood 2014): the same on every machine and Python."""

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
        self._state = int.from_bytes(digest[:8], "little")

    def bits(self) -> int:
        """The next 64 bits."""
        mask = 0xFFFFFFFFFFFFFFFF
        self._state = (self._state + 0x9E3779B97F4A7C15) & mask
        x = self._state
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    def unit(self) -> float:
        """A number in [0, 1)."""
        return (self.bits() >> 11) / 2.0**53

    def below(self, n: int) -> int:
        """A whole number in 0..n-1."""
        return int(self.unit() * n)

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[self.below(len(options))]


def phrase(rng: _Stream, grade: int) -> str:
    """A phrase of the grade: an adjective of the grade, or a modifier and an adjective that together have it."""
    form = rng.below(5)
    strong = grade in (0, 3)
    if form < 2:
        return rng.pick(ADJECTIVES[grade])
    if strong:  # very + the mild word of the same sign
        return f"{rng.pick(TABLES['very'])} {rng.pick(ADJECTIVES[1 if grade == 0 else 2])}"
    if form == 2:  # slightly + the strong word of the same sign
        return f"{rng.pick(TABLES['slightly'])} {rng.pick(ADJECTIVES[0 if grade == 1 else 3])}"
    other = (2, 3) if grade == 1 else (0, 1)  # not + a word of the other sign
    return f"{rng.pick(TABLES['not'])} {rng.pick(ADJECTIVES[other[form - 3]])}"


def _review(rng: _Stream, grade: int) -> tuple[str, str]:
    """(text, domain) of a review whose main clause has the grade."""
    domain = rng.pick(tuple(DOMAINS))
    parts = DOMAINS[domain]["parts"]

    def clause(g: int) -> str:
        return f"the {rng.pick(parts)} {rng.pick(TABLES['verbs'])} {phrase(rng, g)}"

    opener = rng.pick(TABLES["openers"]).format(d=domain)
    head = f"{opener} {rng.pick(TABLES['times'])} ."
    main = clause(grade)
    kind = rng.below(6)
    if kind < 3:
        return f"{head} {main} .", domain
    aside = clause(rng.below(2) + (2 if grade < 2 else 0))
    body = (f"although {aside} , {main}", f"{aside} but {main}", f"{main} even though {aside}")[kind - 3]
    return f"{head} {body} .", domain


def _bucket(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0] * 10 // 256


def reviews(owner: str, seed: int) -> Iterator[tuple[str, str, int, _Stream]]:
    """(text, domain, grade, stream) without end, from the owner's buckets.

    No text comes twice. Of every four reviews, each has another grade.
    """
    rng = _Stream(owner, seed)
    seen: set[str] = set()
    while True:
        grades = [0, 1, 2, 3]
        while grades:
            grade = grades.pop(rng.below(len(grades)))
            text, domain = _review(rng, grade)
            while text in seen or _bucket(text) not in _BUCKETS[owner]:
                text, domain = _review(rng, grade)
            seen.add(text)
            yield text, domain, grade, rng


def task_split(split: SplitName, n: int | None = None, seed: int = TASK_SEED) -> list[tuple[str, int]]:
    """The first n rows (text, label) of a split; no text occurs twice, in another split or in the pretraining text."""
    size = TASK_SIZES[split] if n is None else n
    return [(text, grade) for text, _, grade, _ in islice(reviews(split, seed), size)]
