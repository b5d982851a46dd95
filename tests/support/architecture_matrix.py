"""What the pair check says of a tiny network of every architecture, and the page on which it stands."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.support.architecture_tables import VARIANTS
from tests.support.architectures import is_causal, tiny
from tests.support.pair_checks import as_loaded, check, checked_model
from zorba_ray.errors import ZorbaError

MODES: Mapping[str, dict[str, Any]] = {
    "dense": {},
    "low rank": {"rank": 2},
    "16 bits": {"sixteen_bits": True},
}
"""Arguments of `checked_model`; 16 bits as a real accelerator computes, emulated on the CPU."""

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
COMMAND = "python -m tools.architecture_table"

EXACT = 1e-5
"""Largest |pair - plain| that counts as exact in fp32."""


@dataclass(frozen=True)
class Outcome:
    """Of one network in one mode."""

    refusal: str
    """The sentence; empty where the check passed."""
    apart: float = 0.0
    """Largest |pair - plain|."""
    chained: bool = True
    """Blocks run one by one; else a pair is two whole forward passes."""

    @property
    def status(self) -> str:
        return "refused" if self.refusal else "exact"


def outcome(name: str, mode: str, seed: int = 0, batch_seed: int = 3) -> Outcome:
    """The pair check of a type or variant with scope `all`. What is no `ZorbaError` is a crash, and raised."""
    try:
        loaded = as_loaded(tiny(name, seed), is_causal(name), name)
        verdict = check(checked_model(loaded, **MODES[mode]), seed=batch_seed)
    except ZorbaError as error:
        return Outcome(re.sub(r"^model\.path=\S+( as \w+)?: ", "", str(error)))
    return Outcome("", verdict.largest, loaded.trace.chained)


@dataclass(frozen=True)
class Row:
    """Of one type or variant in the table."""

    name: str
    outcomes: Mapping[str, Outcome]
    """By mode; some modes only, of a variant."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Name, an outcome per mode, how pairs run, and why the first refused mode is."""
        ran = [each for each in self.outcomes.values() if not each.refusal]
        passes = "" if not ran else "block by block" if all(each.chained for each in ran) else "two whole passes"
        refused = [(mode, each.refusal) for mode, each in self.outcomes.items() if each.refusal]
        remark = ""
        if refused:
            where = "" if len(refused) == len(self.outcomes) else f"{refused[0][0]}: "
            remark = textwrap.shorten(where + refused[0][1].partition(";")[0], 96, placeholder=" …")
        return (self.name, *(_cell(self.outcomes.get(mode)) for mode in MODES), passes, remark.replace("|", "\\|"))


def _cell(given: Outcome | None) -> str:
    if given is None:
        return ""
    return given.status if given.refusal else f"{given.status} {given.apart:.0e}"


def row(name: str) -> Row:
    """All modes of a type; of a variant dense fp32 alone."""
    modes = ["dense"] if name in VARIANTS else list(MODES)
    return Row(name, {mode: outcome(name, mode) for mode in modes})


@cache
def table() -> tuple[str, Mapping[str, tuple[str, ...]]]:
    """(transformers' version, name -> cells) of the committed page."""
    text = PAGE.read_text(encoding="utf-8")
    version = re.search(r"transformers (\S+) on a CPU", text)
    assert version is not None, f"{PAGE} names no version of transformers"
    rows = [
        tuple(part.strip() for part in line.strip("|").split(" | ")) for line in text.splitlines() if line[:1] == "|"
    ]
    return version[1], {cells[0]: cells for cells in rows[2:]}


def hold_against_table(name: str) -> None:
    """Asserts that every mode of a type ends as the committed page says, and that exact is exact.

    Skips where another version of transformers is installed than the page's.
    """
    version, rows = table()
    if version != transformers.__version__:
        pytest.skip(f"docs/architectures.md is of transformers {version}; make it anew with `{COMMAND}`")
    assert name in rows, f"{name} is not in docs/architectures.md; make it anew with `{COMMAND}`"
    wanted = [cell.split(" ")[0] for cell in rows[name]]
    made = row(name)
    for mode, each in made.outcomes.items():
        assert each.status == wanted[1 + list(MODES).index(mode)], f"{name}, {mode}: {each.refusal or each.apart}"
        if not each.refusal and not MODES[mode].get("sixteen_bits"):
            assert each.apart <= EXACT, f"{name}, {mode}"
        assert not each.refusal or len(each.refusal) < 1000
    passes = 1 + len(MODES)
    assert made.cells[passes] == rows[name][passes], f"{name}: passes"
