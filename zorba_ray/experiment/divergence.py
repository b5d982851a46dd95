"""Whether a run has destroyed its model, though every number is finite."""

from collections.abc import Sequence

from zorba_ray.artifacts import Eval

COLLAPSED = 0.01
"""Of the start's spread: below it the logits no longer depend on the row."""
RISE = 1.0
"""Above the start's validation loss, in nats."""
IN_A_ROW = 3
"""Evaluations with such a loss."""


def collapsed(record: Eval, start: Eval) -> bool:
    """Whether the logits of an evaluation depend on the row less than COLLAPSED of how they did at the start. Records
    of earlier versions have no `spread`: then not."""
    before, now = start.spread, record.spread
    return before is not None and now is not None and now < COLLAPSED * before


def divergence(evals: Sequence[Eval]) -> str | None:
    """What the last evaluation, or the last IN_A_ROW, say of a destroyed model; None: nothing.

    Args:
        evals: records of the validation split by round, from the start's on, those of earlier sessions too.
    """
    if len(evals) < 2 or evals[0].round != 0:
        return None
    start, last = evals[0], evals[-1]
    if collapsed(last, start):
        return (
            f"round {last.round}: the logits no longer depend on the row: their spread over the validation rows is "
            f"{last.spread:.3g}, at the start {start.spread:.3g} (loss {last.loss:.4f}, at the start "
            f"{start.loss:.4f})"
        )
    recent = evals[1:][-IN_A_ROW:]
    if len(recent) == IN_A_ROW and all(record.loss > start.loss + RISE for record in recent):
        losses = ", ".join(f"{record.loss:.4f} after round {record.round}" for record in recent)
        return (
            f"round {last.round}: the validation loss is more than {RISE:g} above the start's "
            f"{start.loss:.4f} at {IN_A_ROW} evaluations in a row: {losses}"
        )
    return None
