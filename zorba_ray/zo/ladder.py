"""A ladder of learning rates: which of them is best, and which to try next."""

from collections.abc import Mapping


def best_rate(tried: Mapping[float, float | None]) -> float:
    """The rate with the lowest loss, the smaller of equal ones; the smallest if all diverged (None)."""
    losses = {rate: loss for rate, loss in sorted(tried.items()) if loss is not None}
    return min(losses, key=losses.__getitem__) if losses else min(tried)


def rate_beyond(tried: Mapping[float, float | None]) -> float | None:
    """The next rate to try where the best of several is at an end: as far beyond it as its neighbour is before it.
    None: the best has a worse rate on each side."""
    rates, best = sorted(tried), best_rate(tried)
    if best not in (rates[0], rates[-1]):
        return None
    neighbour = rates[1] if best == rates[0] else rates[-2]
    return float(f"{best * best / neighbour:.3g}")
