"""Says which blocks a round leaves as they are, because too few clients reported on them (`federation.byzantine`)."""

from collections.abc import Sequence

from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ExperimentConfig
from zorba_ray.config.aggregation import reports_needed
from zorba_ray.printable import listed


def too_few_text(config: ExperimentConfig, clients: Sequence[int], active: ActiveSets) -> str:
    """A sentence; empty where all blocks move.

    Args:
        clients: those whose reports count.
    """
    federation = config.federation
    if federation.byzantine is None:
        return ""
    needed = reports_needed(federation.aggregate, federation.byzantine)
    if config.spec.commits == "mean":
        blocks = list(range(active.blocks)) if len(clients) < needed else []
    else:
        holders = active.matrix[list(clients)].sum(axis=0)
        blocks = [block for block, count in enumerate(holders.tolist()) if count < needed]
    if not blocks:
        return ""
    names = f"block {blocks[0]} stays" if len(blocks) == 1 else f"blocks {listed(blocks)} stay"
    return (
        f"{names} as before: fewer than {needed} reports, of which {federation.aggregate} withstands "
        f"{federation.byzantine} (federation.byzantine)"
    )
