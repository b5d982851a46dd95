"""Names beside points, where they hide nothing: of eight places around a point the freest is taken, point by point."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

_PLACES = [(4, 3), (-4, 3), (4, -3), (-4, -3), (0, 6), (0, -6), (6, 0), (-6, 0)]
"""Offsets in points, the preferred first."""
_OVERLAP = 50
"""Cost of covering another name or leaving the axes; covering one bit of a line costs 1."""


def name_points(
    axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], lines: Sequence[np.ndarray]
) -> None:
    """Writes `names` beside `points`, away from each other and from `lines` ([k, 2] each); all in data coordinates.

    To be called when the axes are complete: places are judged on the page.
    """
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    ink = np.concatenate([_dense(axes.transData.transform(line)) for line in lines])
    placed = [axes.get_window_extent(renderer)]
    for point, name in zip(points, names, strict=True):
        texts = [_write(axes, point, name, place) for place in _PLACES]
        boxes = [text.get_window_extent(renderer) for text in texts]
        costs = [_cost(box, ink, placed) for box in boxes]
        best = int(np.argmin(costs))
        for index, text in enumerate(texts):
            if index != best:
                text.remove()
        placed.append(boxes[best])


def _write(axes: Axes, point: tuple[float, float], name: str, place: tuple[int, int]) -> Annotation:
    right, up = place
    text = axes.annotate(
        name,
        point,
        xytext=place,
        textcoords="offset points",
        ha="left" if right > 0 else "right" if right < 0 else "center",
        va="bottom" if up > 0 else "top" if up < 0 else "center",
        fontsize=6.5,
        path_effects=[withStroke(linewidth=1.5, foreground="white")],
    )
    text.set_in_layout(False)
    return text


def _cost(box: Bbox, ink: np.ndarray, placed: Sequence[Bbox]) -> float:
    frame, *others = placed
    covered = ((ink >= box.min) & (ink <= box.max)).all(axis=1).sum()
    outside = box.x0 < frame.x0 or box.y0 < frame.y0 or box.x1 > frame.x1 or box.y1 > frame.y1
    return float(covered) + _OVERLAP * (outside + sum(box.overlaps(other) for other in others))


def _dense(line: np.ndarray) -> np.ndarray:
    """[k, 2] corners -> points along the line, 40 per piece."""
    pieces = [np.linspace(a, b, 40) for a, b in pairwise(line)]
    return np.concatenate(pieces) if pieces else line
