"""Seconds per round against clients N, parameters d and directions P; and that no round pays for earlier ones.

Real runs in one process (one worker's work), CPU time, the median of a few rounds per point. A run on other settings
cannot take turns with the first, so what the machine does in between shows as scatter.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import correlation, linear_regression, median

from benchmarks.alternate import Goal, at_least, at_most, judged
from benchmarks.live import run_rounds
from benchmarks.rows import Row
from benchmarks.shapes import Shape, data_folder, model_folder, settings

BATCH, LENGTH = 4, 8
ONE = Shape(5, 128)
"""d = 0.99M, the model of the rows on N and P."""
SHAPES = (ONE, Shape(5, 256), Shape(5, 512), Shape(7, 768), Shape(10, 1024))
"""d = 0.99M, 3.9M, 15.8M, 49.6M, 126.0M (blocks)."""
STRAIGHT: Goal = at_least(0.99)


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file."""
    clients = (4, 8, 16) if quick else (8, 32, 128, 512)
    directions = (1, 2, 4) if quick else (1, 2, 4, 8, 16)
    shapes = SHAPES[:3] if quick else SHAPES
    rounds = 2 if quick else 5
    runs = _Runs(folder, max(*clients, 32))
    n = [runs.seconds(ONE, count, 1, rounds) for count in clients]
    p = [runs.seconds(ONE, 8, count, rounds) for count in directions]
    d = [runs.seconds(shape, 4, 1, rounds) for shape in shapes]
    one, sizes = _millions(ONE), [_millions(shape) for shape in shapes]
    return [
        *_line(f"N = {clients[0]} … {clients[-1]} clients (P = 1, d = {one:.1f}M)", clients, n, lambda s: s / one),
        *_line(f"P = {directions[0]} … {directions[-1]} (N = 8, d = {one:.1f}M)", directions, p, lambda s: s / 8 / one),
        *_line(f"d = {sizes[0]:.0f}M … {sizes[-1]:.0f}M (N = 4, P = 1)", sizes, d, lambda s: s / 4),
        *no_catch_up(runs, 12 if quick else 100),
    ]


def _line(
    axis: str, points: Sequence[float], seconds: Sequence[float], per_unit: Callable[[float], float]
) -> list[Row]:
    """Slope, constant and straightness of one axis; `per_unit` turns a slope into s per client, direction and 10⁶."""
    slope, constant = linear_regression(points, seconds)
    name = f"seconds per round against {axis}"
    return [
        judged(f"{name}: share explained by a straight line (CPU)", [correlation(points, seconds) ** 2], "", STRAIGHT),
        judged(f"{name}: slope (CPU)", [slope], "s", None),
        judged(f"{name}: constant (CPU)", [constant], "s", None),
        judged(f"{name}: slope per N·P·d (CPU)", [1e3 * per_unit(slope)], "ms per client, direction and 10⁶", None),
    ]


def no_catch_up(runs: "_Runs", rounds: int) -> list[Row]:
    """Two participants a round: late rounds cost what early ones do, and so do rounds of a larger federation, whose
    clients have missed more rounds when they are asked."""
    few = runs.rounds(ONE, 2, 2, rounds)
    many = runs.rounds(ONE, 32, 2, rounds)
    # Theil and Sen's line, which outliers leave alone: the median of the slopes of all pairs.
    slope = median((late - early) / (j - i) for (i, early), (j, late) in combinations(enumerate(many), 2))
    drift = abs(slope) * len(many) / median(many)
    ratio = median(many) / median(few)
    return [
        judged(f"2 of 32 clients a round: change over {rounds} rounds, in rounds (CPU)", [drift], "", at_most(0.05)),
        judged("2 participants a round: N = 32 over N = 2 (CPU)", [ratio], "×", at_most(1.1, "×")),
    ]


class _Runs:
    """Runs on models and data that are made once."""

    def __init__(self, folder: Path, clients: int) -> None:
        self._folder = folder
        self._data = data_folder(folder / "growth-data", clients * BATCH, LENGTH)

    def seconds(self, shape: Shape, clients: int, directions: int, rounds: int) -> float:
        """Median CPU seconds of a round."""
        model, data = self._model(shape), self._data
        zo, federation = {"lr": 1e-6, "schedule": "constant", "directions": directions}, {"clients": clients}
        config = settings(model, data, 1 + rounds, LENGTH, BATCH, zo=zo, federation=federation)
        return sorted(run_rounds(config, self._folder).cpu)[rounds // 2]

    def rounds(self, shape: Shape, clients: int, participants: int, rounds: int) -> list[float]:
        """CPU seconds of every round but the first two."""
        federation = {"clients": clients, "participants": participants}
        config = settings(self._model(shape), self._data, 2 + rounds, LENGTH, BATCH, federation=federation)
        return run_rounds(config, self._folder, warm=2).cpu

    def _model(self, shape: Shape) -> Path:
        path = self._folder / f"opt-{shape.layers}x{shape.hidden}"
        return path if path.exists() else model_folder(path, shape)


def _millions(shape: Shape) -> float:
    return shape.block_parameters / 1e6
