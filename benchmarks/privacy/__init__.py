"""Privacy in figures: the account of ε, the noise, what is learned at an ε, and what attacks on scalars can tell."""

from benchmarks.privacy.accounts import account_rows, noise_rows
from benchmarks.privacy.attack import attack_rows
from benchmarks.privacy.learning import learning_rows
from benchmarks.rows import Row


def rows(quick: bool) -> list[Row]:
    """All rows; with `quick`, fewer reports, directions and seeds."""
    return [*account_rows(), *noise_rows(), *attack_rows(quick), *learning_rows(quick)]
