"""How the server makes one step of the clients' scalars (`federation.aggregate`), and what each way asks of a run."""

import math
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from zorba_ray.config.experiment import ExperimentConfig

Aggregate = Literal["mean", "clip_spread", "median", "trimmed_mean", "krum"]
COMPARING: tuple[Aggregate, ...] = ("median", "trimmed_mean", "krum")
"""Those that compare scalars of the same direction."""
SPREAD = 6.0
"""Bound of |ρ|, as a multiple of the median. On the built-in task, the largest report of an honest client in 60 rounds
had 6.1 times the median size; a bound of 3 cost honest runs 14 points of accuracy after 40 rounds
(docs/adversaries.md)."""
FEWEST = 3
"""Reports of a round of which an outlier can be told from the others."""


def default_spread(federation: dict[str, Any]) -> float | None:
    """The default of `federation.spread`."""
    return SPREAD if federation.get("aggregate") == "clip_spread" else None


def default_byzantine(federation: dict[str, Any]) -> int | None:
    """The default of `federation.byzantine`."""
    return 1 if federation.get("aggregate") in COMPARING else None


def reports_needed(aggregate: str, byzantine: int) -> int:
    """Reports on a block that f hostile ones cannot decide: 2f + 1, and 2f + 3 for Krum."""
    return 2 * byzantine + (3 if aggregate == "krum" else 1)


def participant_count(clients: int, setting: int | float | None) -> int:
    """Number of clients that are asked in a round, of `clients` that are present: all, a count, or a share rounded half
    up."""
    if setting is None:
        return clients
    if isinstance(setting, int):
        return setting
    return max(1, math.floor(setting * clients + 0.5))


def refuse_aggregation(config: "ExperimentConfig") -> None:
    """Raises ValueError: the method cannot aggregate so, or too few clients report on a block."""
    federation, method = config.federation, config.method
    aggregate, spread, byzantine = federation.aggregate, federation.spread, federation.byzantine
    if spread is not None and aggregate != "clip_spread":
        raise ValueError(
            f"federation.spread={spread:g} with federation.aggregate={aggregate}: only clip_spread uses it; set "
            "federation.spread=null, or federation.aggregate=clip_spread"
        )
    if byzantine is not None and aggregate not in COMPARING:
        raise ValueError(
            f"federation.byzantine={byzantine} with federation.aggregate={aggregate}: only {', '.join(COMPARING)} use "
            "it; set federation.byzantine=null, or one of these"
        )
    if aggregate == "mean":
        return
    if not config.spec.scalar_reports:
        raise ValueError(
            f"federation.aggregate={aggregate} with method={method}: only methods whose clients report the scalars of "
            "one round can do this, and this one does not; set federation.aggregate=mean"
        )
    asked = participant_count(federation.clients, federation.participants)
    if aggregate == "clip_spread":
        if asked < FEWEST:
            raise ValueError(
                f"federation.aggregate=clip_spread with {asked} client{'s' if asked > 1 else ''} a round: of fewer "
                f"than {FEWEST} reports none can be told to be an outlier; ask {FEWEST} or more (federation.clients, "
                "federation.participants), or set federation.aggregate=mean"
            )
        return
    if federation.seeds != "shared":
        raise ValueError(
            f"federation.aggregate={aggregate} with federation.seeds={federation.seeds}: scalars of different "
            "directions cannot be compared; set federation.seeds=shared, or federation.aggregate=clip_spread"
        )
    if config.zo.directions_per == "example":
        raise ValueError(
            f"federation.aggregate={aggregate} with zo.directions_per=example: a batch with fewer rows has fewer "
            "scalars, so not all can be compared; set zo.directions_per=batch, or federation.aggregate=clip_spread"
        )
    _refuse_few(config, aggregate, byzantine or 1, asked)


def _refuse_few(config: "ExperimentConfig", aggregate: str, byzantine: int, asked: int) -> None:
    federation, spec, coverage = config.federation, config.spec, config.allocation.coverage
    needed, not_asked = reports_needed(aggregate, byzantine), federation.clients - asked
    held = coverage if spec.allocates else federation.clients
    if held - not_asked >= needed:
        return
    rule = (
        f"{aggregate} withstands {byzantine} hostile of {needed} reports on a block (federation.byzantine={byzantine})"
    )
    missing = f", of which {not_asked} may be not asked in a round" if not_asked else ""
    if not spec.allocates:
        raise ValueError(
            f"federation.aggregate={aggregate}: {rule}, and {asked} of federation.clients={federation.clients} are "
            f"asked; ask {needed} or more, or set a smaller federation.byzantine"
        )
    enough = needed + not_asked
    remedy = (
        f"set allocation.coverage={enough}" if enough <= federation.clients else "take more clients, or a smaller f"
    )
    raise ValueError(
        f"federation.aggregate={aggregate}: {rule}, and allocation.coverage={coverage} promises only {coverage} "
        f"holders of a block{missing}; {remedy}"
    )
