"""What the rows of a GPU are taken with: device, sizes, and a time after which no more rows are begun."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.alternate import Goal, judged
from benchmarks.gpu.device import Device
from benchmarks.rows import Row, not_run, to_json
from benchmarks.shapes import batch
from zorba_ray.models import Batch

DISTANCE = "count / peak − 1"
WITHIN: Goal = "within 5 %", lambda found: abs(found) <= 5


@dataclass(frozen=True)
class Sizes:
    """How large things are."""

    elements: int
    """Of a vector that kernels read."""
    matrix: tuple[int, int]
    """That is packed."""
    product: int
    """Side of the square matrices whose product gives FLOP/s."""
    turns: int
    """Measurements of a row about kernels."""
    shapes: tuple[str, ...]
    """Models of the whole steps: names of `zorba-ray profile`, or folders."""
    counted: str
    """Model of the rows about memory."""
    batch: int = 16
    length: int = 128
    seconds: float = 420.0
    """After this time no row is begun."""


FULL = Sizes(1 << 26, (8192, 8192), 8192, 15, ("smollm2-135m", "opt-1.3b"), "opt-125m")
QUICK = Sizes(1 << 22, (2048, 2048), 2048, 5, ("smollm2-135m",), "opt-125m", seconds=50.0)


class Session:
    """Takes rows and keeps them in a file. A row that fails says so, and the next one is taken."""

    def __init__(self, device: Device | None, sizes: Sizes, file: Path | None) -> None:
        """`device`: None: no row is run. `file`: where the rows are written, as JSON; None: nowhere."""
        self.sizes = sizes
        self.rows: list[Row] = []
        self._device, self._file = device, file
        self._notes: dict[str, str] = {}
        self._begin = time.monotonic()

    @property
    def device(self) -> Device:
        """The device. Rows ask for it when they are run, not before."""
        assert self._device is not None
        return self._device

    def note(self, name: str, text: str) -> None:
        """A detail of the row that is being taken."""
        self._notes[name] = text

    def distance(self, count: int, peak: int) -> list[float]:
        """Percent by which a count of bytes is above (below: negative) the peak of the allocator."""
        self.note("bytes", f"{count:,} counted, {peak:,} at the peak")
        return [100 * (count / peak - 1)]

    def batch(self) -> Batch:
        """Random tokens without padding, on the device."""
        return batch(self.sizes.batch, self.sizes.length).to(self.device.name)

    def row(
        self,
        name: str,
        unit: str,
        goal: Goal | None,
        values: Callable[[], Sequence[float]],
    ) -> None:
        """Takes a row: its value is the median of `values`, which may `note` what belongs to it."""
        self._notes = {}
        told = goal[0] if goal else "none, for comparison"
        if self._device is None:
            made = not_run(name, unit, told)
        elif time.monotonic() - self._begin > self.sizes.seconds:
            made = not_run(name, unit, told, f"left out: {self.sizes.seconds:g} s are over")
        else:
            try:
                made = judged(name, values(), unit, goal, self._device.label(), self._notes)
            except Exception as error:  # the rows after it are worth as much
                made = not_run(name, unit, told, f"failed: {type(error).__name__}: {error}")
        self.rows.append(made)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(to_json(self.rows), "utf-8")
