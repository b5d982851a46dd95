"""Adversaries: what hostile clients do to the built-in task under each aggregation, and what each aggregation costs.

Every run is an ordinary run directory below the folder that ZORBA_ADVERSARIES names (default runs/adversaries): what is
done is not run again, what was cut off goes on. All of them take hours of one core. Quick: reads what is there, and
runs nothing.
"""

from benchmarks.adversaries.arms import ARMS, SEEDS, Arm
from benchmarks.adversaries.figures import attack_row, honest_rows
from benchmarks.rows import Row


def rows(quick: bool) -> list[Row]:
    """All rows, seed by seed, so that an interrupted series compares what it has.

    Raises:
        ZorbaError: a run's directory is of other settings, or was interrupted.
    """
    if not quick:
        for seed in SEEDS:
            for arm in ARMS:
                arm.run(seed)
    return [*honest_rows(ARMS), *(attack_row(arm) for arm in ARMS if arm.attack is not None)]


__all__ = ["Arm", "rows"]
