"""Values at the end of runs against one quantity: groups that differ in nothing else make a series."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.collect import Group
from analysis.cost import vram_source
from analysis.naming import labels_of
from analysis.rows import Measure, Row, Rows, counted, spread
from zorba_ray.errors import RunDirError


def rows_against(
    groups: Sequence[Group],
    name: str,
    x: Callable[[Group], float | None],
    varied: Sequence[str],
    measures: Mapping[str, Measure],
) -> Rows:
    """One row per group, series by series, in order of x.

    Args:
        name: column of x, also used in messages.
        x: the quantity of a group; groups with None are left out.
        varied: dotted settings that go with x, in which the groups of a series may differ.
        measures: column -> value of a run; each gives its mean, minimum and maximum over the seeds.

    Raises:
        RunDirError: fewer than two different x.
    """
    placed = [(value, group) for group in groups if (value := x(group)) is not None]
    if len({value for value, _ in placed}) < 2:
        seen = ", ".join(f"{value:g}" for value in sorted({value for value, _ in placed})) or "none"
        raise RunDirError(
            f"this figure needs finished runs with at least two values of {name} ({', '.join(varied)}); found: {seen}"
        )
    rest = [_without(group.settings, varied) for _, group in placed]
    keys = [json.dumps(one, sort_keys=True) for one in rest]
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    order = list(dict.fromkeys(keys))
    labels = labels_of([rest[first[key]] for key in order], [placed[first[key]][1].shown for key in order])
    rows: list[Row] = []
    for key, label in zip(order, labels, strict=True):
        inside = sorted(
            ((value, group) for (value, group), own in zip(placed, keys, strict=True) if own == key),
            key=lambda pair: pair[0],
        )
        for value, group in inside:
            row: Row = {"series": label, name: value, **counted(group)}
            for column, measure in measures.items():
                row.update(spread(column, (measure(run) for run in group.runs)))
            rows.append(row)
    return Rows(tuple(rows), vram_source(run for _, group in placed for run in group.runs))


def _without(settings: Mapping[str, Any], varied: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in varied}


def with_note(rows: Rows, note: str) -> Rows:
    """The same rows with one more note; an empty note changes nothing."""
    return replace(rows, notes=(*rows.notes, note)) if note else rows
