"""What a trial reserves: a placement group computed from the trial's own settings, and whether it can ever be had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ClusterError
from zorba_ray.experiment.backends import fleet_actors
from zorba_ray.federation.accelerator import choose_accelerator
from zorba_ray.federation.placement import cpus_needed, gpus_needed, largest_first

_NODE_SHARE = 0.001
"""Of a node's own resource `node:IP`: binds a bundle to that node and takes nothing from it."""

_HERE = (
    "a trial's own process runs on the node of the sweep directory (nodes: driver): give that node a CPU, or set "
    "sweep.nodes=any with the sweep directory on shared storage"
)


@dataclass(frozen=True)
class TrialNeeds:
    """Bundles of one trial: the first is the trial's own process (loop, evaluation; the clients too where they run in
    it), then one for each client actor, the largest share of a GPU first."""

    accelerator: str
    bundles: tuple[dict[str, float], ...]
    cpus: int
    gpus: int
    """Whole GPUs that hold all fractions."""


def trial_needs(config: ExperimentConfig, node: str | None) -> TrialNeeds:
    """What a trial of `config` uses, no more and no less.

    Args:
        node: resource name of the node that the trial's own process is bound to, as in node:10.0.0.1; None: any node.
    """
    accelerator = choose_accelerator(config)
    own: dict[str, float] = {"CPU": 1.0}
    if node is not None:
        own[node] = _NODE_SHARE
    if config.federation.backend == "sequential":
        gpus = 1 if accelerator == "cuda" else 0
        if gpus:
            own["GPU"] = 1.0
        return TrialNeeds(accelerator, (own,), 1, gpus)
    specs = fleet_actors(config, accelerator)
    actors = tuple(
        {kind: amount for kind, amount in (("CPU", spec.cpus), ("GPU", spec.gpu_fraction)) if amount}
        for spec in (specs[place] for place in largest_first(specs))
    )
    return TrialNeeds(accelerator, (own, *actors), 1 + cpus_needed(specs), gpus_needed(specs))


def require_room(name: str, needs: TrialNeeds, total: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Whether the cluster, empty, could hold a trial.

    Args:
        total: resources of the cluster.
        nodes: resources of each of its nodes.

    Raises:
        ClusterError: with what the trial needs, what there is, and what is missing.
    """
    remedy = {
        "CPU": "lower federation.workers or federation.clients, or add CPUs",
        "GPU": "raise federation.gpu_memory, use federation.mode=packed, or start Ray with more --num-gpus (logical "
        "GPUs are enough for a simulation)",
    }
    for kind, need in (("CPU", needs.cpus), ("GPU", needs.gpus)):
        have = total.get(kind, 0.0)
        if have < need:
            raise ClusterError(
                f"trial {name} needs {need} {kind}, the cluster has {have:g} ({need - have:g} missing), so that it "
                f"could never start: {remedy[kind]}"
            )
    for bundle in needs.bundles:
        if not any(all(float(node.get(kind, 0.0)) >= need for kind, need in bundle.items()) for node in nodes):
            wanted = ", ".join(f"{need:g} {kind}" for kind, need in bundle.items())
            raise ClusterError(
                f"trial {name} needs {wanted} together on one node, and no node of the cluster has that, so that it "
                "could never start: " + (_HERE if any(kind.startswith("node:") for kind in bundle) else remedy["CPU"])
            )
