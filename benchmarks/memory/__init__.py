"""What a client's accelerator holds: against other methods, by budget, and the formula against the count."""

from benchmarks.memory import agreement, budgets, learning, llama, vram
from benchmarks.rows import Row, not_run


def rows(quick: bool) -> list[Row]:
    """All rows."""
    gpu = not_run("count against GPU peak, every method", "%", "≤ 5 %")
    return [*vram.rows(quick), *llama.rows(), *agreement.rows(quick), *budgets.rows(quick), *learning.rows(quick), gpu]
