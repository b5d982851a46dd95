"""Rewards that need no code of yours: `task.reward: zorba_ray.tasks.rewards:NAME`.

Each takes what the model answered and what is right, two lists of equally many texts, and gives a number from 0 to 1
for each pair. Texts are compared as SQuAD does: in lower case, without punctuation, articles and needless spaces
(Rajpurkar et al. 2016, arXiv 1606.05250).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """1 where the two texts are the same, else 0. Of label words and options the mean is the accuracy."""
    return [float(_words(text) == _words(right)) for text, right in zip(texts, references, strict=True)]


def token_f1(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1 of the words that the two texts share: the mean of precision and recall, the harmonic one."""
    return [_f1(_words(text), _words(right)) for text, right in zip(texts, references, strict=True)]


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f1(words: list[str], right: list[str]) -> float:
    if not words or not right:
        return float(words == right)
    shared = sum((Counter(words) & Counter(right)).values())
    return 2 * shared / (len(words) + len(right))
