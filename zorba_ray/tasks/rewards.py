"""Rewards that need no code of yours: `task.reward: zorba_ray.tasks.rewards:NAME`.

Each takes what the model answered and what is right, two lists of equally many texts, and gives a number from 0 to 1
for each pair: what an evaluation of a generation scores by the same name (`metrics/text.py`).
"""

from collections.abc import Sequence

from zorba_ray.metrics import text


def exact_match(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """1 where both are the same, but for case, punctuation and articles; else 0. Of label words the mean is the
    accuracy."""
    return [text.exact_match(given, right) for given, right in zip(texts, references, strict=True)]


def token_f1(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1 of the words that both have."""
    return [text.token_f1(given, right) for given, right in zip(texts, references, strict=True)]


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """F-measure of the longest common subsequence of words."""
    return [text.rouge_l(given, right) for given, right in zip(texts, references, strict=True)]


def number_match(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """1 where both have the same last number."""
    return [text.number_match(given, right) for given, right in zip(texts, references, strict=True)]
