"""What a client's accelerator holds: against other methods, by budget, and the formula against the count."""

from benchmarks.memory import agreement, budgets, learning, llama, vram
from benchmarks.rows import Row


def rows(quick: bool) -> list[Row]:
    """All rows."""
    return [*vram.rows(quick), *llama.rows(), *agreement.rows(quick), *budgets.rows(quick), *learning.rows(quick)]
