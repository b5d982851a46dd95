"""Ends a run whose rounds are too large again and again (`federation.patience`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zorba_ray.errors import Diverged


class Patience:
    """Counts the rounds in a row whose update was too large to be applied."""

    def __init__(self, rounds: int, run: Path) -> None:
        """`rounds`: `federation.patience`; `run`: the run directory, for messages."""
        self._rounds, self._run, self._in_a_row = rounds, run, 0

    def round_made(self, number: int, too_large: Sequence[int], reasons: Mapping[int, str]) -> None:
        """Call it before the commit of a round is written.

        Args:
            too_large, reasons: of `RoundResult`; reasons are its `rejected`.

        Raises:
            Diverged: this round is the last one of `federation.patience`.
        """
        self._in_a_row = self._in_a_row + 1 if too_large else 0
        if self._in_a_row < self._rounds:
            return
        first = number - self._in_a_row
        raise Diverged(
            f"round {number}: in {self._in_a_row} rounds in a row (federation.patience) the update was too large to be "
            f"applied; client {too_large[0]}: {reasons[too_large[0]]}. The ledger ends at round {number - 1}: look at "
            f"the named clients and go on with --resume, or go back to before these rounds with `zorba-ray repair "
            f"{self._run} --rollback-to {first}`, or begin anew with a smaller rate"
        )
