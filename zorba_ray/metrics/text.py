"""Scores of written answers: exact match, token F1, ROUGE-L, number match. Of several right answers of a row, the one
that the answer comes nearest to counts.

- Exact match and token F1 as the evaluation of SQuAD has them (Rajpurkar et al., EMNLP 2016, arXiv 1606.05250, and its
  evaluate-v2.0.py): lower case, without punctuation, without a, an and the, words divided by one space. F1 is of the
  words that both have; where either side has none left, it is 1 if both have none.
- ROUGE-L: the F-measure of the longest common subsequence of words (Lin, ACL workshop 2004), by the rouge-score
  library, without stemming. Its words are of a–z and digits.
- Number match: the last number of the answer is that of the right one, as for GSM8K (Cobbe et al., arXiv 2110.14168);
  where the text has its mark ####, the number behind the last one. 1,234 and 1234.0 are the same number.
"""

import functools
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from zorba_ray.errors import DataError
from zorba_ray.printable import shown

SHARES = ("exact_match", "number_match")
"""Scores that are 1 or 0 for a row."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"(?:(?<![0-9A-Za-z])-)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)")
_ROUGE_WORD = re.compile(r"[a-z0-9]")


def text_scores(
    texts: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The score of each row by each name, from 0 to 1: float64 [rows].

    Args:
        references: the right answers of each row, at least one.
    """
    return {
        name: np.array(
            [
                max(_SCORES[name](text, right) for right in answers)
                for text, answers in zip(texts, references, strict=True)
            ],
            dtype=np.float64,
        )
        for name in names
    }


def require_scorable(references: Sequence[Sequence[str]], names: Sequence[str], row_name: Callable[[int], str]) -> None:
    """Whether a right answer of each row can be scored: else every answer to it would count as wrong.

    Args:
        row_name: names a row, counted from 0, in messages.

    Raises:
        DataError: the first row that cannot, with its score.
    """
    needs: dict[str, tuple[Callable[[str], object], str]] = {
        "rouge_l": (lambda text: _ROUGE_WORD.search(text.lower()), "ROUGE-L knows the letters a–z and digits alone"),
        "number_match": (last_number, "it has no number"),
    }
    for name in names:
        known, why = needs.get(name, (lambda _: True, ""))
        for row, answers in enumerate(references):
            if all(known(answer) is None for answer in answers):
                raise DataError(
                    f"task.scores has {name}: {row_name(row)} has the right answer {shown(answers[0])}, which it "
                    f"cannot score ({why}): take {name} out of task.scores, or leave the row out"
                )


def normalized(text: str) -> str:
    """A text as SQuAD compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, right: str) -> float:
    """1 where both are the same text, normalized."""
    return float(normalized(text) == normalized(right))


def token_f1(text: str, right: str) -> float:
    """F1 of the words, normalized, that both texts have."""
    given, wanted = normalized(text).split(), normalized(right).split()
    if not given or not wanted:
        return float(given == wanted)
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted))


def rouge_l(text: str, right: str) -> float:
    """F-measure of ROUGE-L."""
    return float(_rouge().score(right, text)["rougeL"].fmeasure)


def number_match(text: str, right: str) -> float:
    """1 where both texts have the same last number."""
    number = last_number(text)
    return float(number is not None and number == last_number(right))


def last_number(text: str) -> Decimal | None:
    """The number behind the last ####, else the last one; None: there is none."""
    _, mark, tail = text.replace("−", "-").rpartition("####")
    numbers = _NUMBER.findall(tail)
    if not numbers:
        return None
    return Decimal((numbers[0] if mark else numbers[-1]).replace(",", ""))


@functools.cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # brings nltk, which takes a second

    return RougeScorer(["rougeL"])


_SCORES: dict[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "number_match": number_match,
}
