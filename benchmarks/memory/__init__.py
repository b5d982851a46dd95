"""What a client's accelerator holds: against other methods, and the formula against the count."""

from benchmarks.memory import agreement, vram
from benchmarks.rows import Row, not_run


def rows(quick: bool) -> list[Row]:
    """All rows."""
    gpu = not_run("count against GPU peak, every method", "%", "≤ 5 %")
    return [*vram.rows(quick), *agreement.rows(quick), gpu]
