"""A comparison of methods, read from its folder: every figure with its mean and 95 % interval over the seeds."""

from typing import Any

from pydantic import Field

from zorba_ray.report.records import Record

CONTEST_FILE = "compare.json"


class CellEntry(Record):
    """A run as compare.json knows it."""

    method: str
    seed: int
    rate: float
    tuning: bool
    status: str
    error: str | None = None
    round: int | None = None
    """Rounds done, of a run that diverged or failed."""


class ContestEntry(Record):
    """compare.json."""

    name: str
    command: tuple[str, ...] = ()
    asked: dict[str, Any]
    passes: int
    """Forward passes of each client in all."""
    chosen: dict[str, float] = Field(default_factory=dict)
    tried: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    cells: dict[str, CellEntry] = Field(default_factory=dict)

    def is_chosen(self, method: str, rate: str) -> bool:
        """Whether a tried rate, as `tried` spells it, is the one that the method's runs have."""
        return method in self.chosen and f"{self.chosen[method]:g}" == rate

    def end_of_ladder(self, method: str) -> str | None:
        """'lowest' or 'highest' where the chosen rate is that of those tried; None elsewhere, or with one tried."""
        ladder = sorted(self.tried.get(method, {}), key=float)
        if len(ladder) < 2:
            return None
        ends = (("lowest", ladder[0]), ("highest", ladder[-1]))
        return next((end for end, rate in ends if self.is_chosen(method, rate)), None)
