"""From a space to points in it: grids crossed, the rest drawn by counters, so that draw i is the same whenever asked.

A point is {dotted key: Pick}; keys whose `when` does not hold are absent.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from zorba_ray.config import Dimension
from zorba_ray.directions import uniforms


class Pick(NamedTuple):
    """One value of a point."""

    value: Any
    label: str | None = None
    """How it is shown, where the space names it."""


Point = dict[str, Pick]


def points(space: Mapping[str, Dimension], base: Mapping[str, Any], samples: int, seed: int) -> Iterator[Point]:
    """All grids crossed, the last key varying fastest, `samples` times with fresh draws; equal points once.

    Args:
        base: the run's own settings, which `when` falls back on.
    """
    grids = [key for key, dimension in space.items() if dimension.form == "grid"]
    seen: list[Point] = []
    corners = list(itertools.product(*(space[key].options for key in grids)))
    for draw in range(samples):
        for place, corner in enumerate(corners):
            fixed = dict(zip(grids, corner, strict=True))
            point: Point = {}
            for axis, (key, dimension) in enumerate(space.items()):
                if not active(dimension, point, base):
                    continue
                if key in fixed:
                    label, value = fixed[key]
                    point[key] = Pick(value, label)
                else:
                    share = uniforms(seed, "sweep", draw * len(corners) + place, axis, 1)[0]
                    point[key] = quantile(dimension, float(share))
            if point not in seen:
                seen.append(point)
                yield point


def active(dimension: Dimension, point: Mapping[str, Pick], base: Mapping[str, Any]) -> bool:
    """Whether `when` holds, for what was picked before or the run's own settings."""
    for key, wanted in (dimension.when or {}).items():
        found = point[key] if key in point else Pick(_look_up(base, key))
        choices = wanted if isinstance(wanted, list) else [wanted]
        if not any(_same(found.value, choice) or found.label == choice for choice in choices):
            return False
    return True


def quantile(dimension: Dimension, share: float) -> Pick:
    """The value of a non-grid dimension at `share` of (0, 1)."""
    if dimension.form == "choice":
        options = dimension.options
        label, value = options[min(int(share * len(options)), len(options) - 1)]
        return Pick(value, label)
    low, high, *q = dimension.bounds
    value = low * (high / low) ** share if dimension.form == "loguniform" else low + (high - low) * share
    return Pick(rounded(value, low, high, q[0]) if q else value)


def rounded(value: float, low: float, high: float, q: float) -> float:
    """The nearest multiple of q within [low, high]; ten digits, so that 3 · 0.1 reads 0.3."""
    steps = min(max(round(value / q), math.ceil(low / q - 1e-9)), math.floor(high / q + 1e-9))
    return float(f"{steps * q:.10g}")


def _same(found: Any, wanted: Any) -> bool:
    """Equal, also where YAML 1.1 reads one number as text (1e-3)."""
    if found == wanted:
        return True
    try:
        return (
            isinstance(found, (int, float, str))
            and isinstance(wanted, (int, float, str))
            and (float(found) == float(wanted))
        )
    except (ValueError, OverflowError):
        return False


def _look_up(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
