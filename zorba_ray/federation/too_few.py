"""Says which blocks a round leaves as they are, because too few clients reported on them (`federation.byzantine`)."""

from collections.abc import Collection, Sequence

from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ExperimentConfig
from zorba_ray.config.aggregation import reports_needed
from zorba_ray.printable import listed


def too_few_text(config: ExperimentConfig, clients: Sequence[int], refused: Collection[int], active: ActiveSets) -> str:
    """A sentence; empty where all blocks move.

    Args:
        clients: those whose reports count.
        refused: those whose reports do not.
    """
    federation = config.federation
    if federation.byzantine is None:
        return ""
    if config.spec.commits == "mean":  # every client holds every block
        active = ActiveSets.of_all(active.clients, active.blocks)
    counts, known = (active.matrix[list(group)].sum(axis=0).tolist() for group in (clients, refused))
    needed = [reports_needed(federation.aggregate, max(0, federation.byzantine - each)) for each in known]
    blocks = [block for block in range(active.blocks) if counts[block] < needed[block]]
    if not blocks:
        return ""
    names = f"block {blocks[0]} stays" if len(blocks) == 1 else f"blocks {listed(blocks)} stay"
    return (
        f"{names} as before: fewer than {max(needed)} reports, of which {federation.aggregate} withstands "
        f"{federation.byzantine} (federation.byzantine)"
    )
