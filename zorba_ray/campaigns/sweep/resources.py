"""The resources of a trial: computes its placement group from its settings, and checks that the cluster can have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ClusterError
from zorba_ray.experiment.backends import fleet_actors
from zorba_ray.federation.accelerator import Accelerator, choose_accelerator
from zorba_ray.federation.placement import cpus_needed, gpus_needed, largest_first

_NODE_SHARE = 0.001
"""Amount of Ray's resource `node:IP` that binds a bundle to a node."""

_HERE = (
    "the process of a trial runs on the node of the sweep directory (sweep.nodes=driver): give that node a CPU, or set "
    "sweep.nodes=any with the sweep directory on shared storage"
)


@dataclass(frozen=True)
class TrialNeeds:
    """Bundles of one trial. The first is for the trial's process (loop, evaluation, with backend=sequential also the
    clients). Then there is one for each client actor, the largest share of a GPU first."""

    accelerator: Accelerator
    bundles: tuple[dict[str, float], ...]
    cpus: int
    gpus: int
    """Number of GPUs that hold all fractions."""


def trial_needs(config: ExperimentConfig, node: str | None) -> TrialNeeds:
    """The exact needs of a trial with these settings.

    Args:
        node: Ray's resource name of the node for the trial's process, as in node:10.0.0.1; None: any node.
    """
    accelerator = choose_accelerator(config)
    process_bundle: dict[str, float] = {"CPU": 1.0}
    if node is not None:
        process_bundle[node] = _NODE_SHARE
    if config.federation.backend == "sequential":
        gpus = 1 if accelerator == "cuda" else 0
        if gpus:
            process_bundle["GPU"] = 1.0
        return TrialNeeds(accelerator, (process_bundle,), 1, gpus)
    specs = fleet_actors(config, accelerator)
    actors = tuple(
        {kind: amount for kind, amount in (("CPU", spec.cpus), ("GPU", spec.gpu_fraction)) if amount}
        for spec in (specs[number] for number in largest_first(specs))
    )
    return TrialNeeds(accelerator, (process_bundle, *actors), 1 + cpus_needed(specs), gpus_needed(specs))


def require_cluster_room(
    name: str, needs: TrialNeeds, total: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]
) -> None:
    """Checks that the cluster could run a trial if nothing else ran.

    Args:
        total: resources of the cluster.
        nodes: resources of each of its nodes.

    Raises:
        ClusterError: it could not; names what the trial needs, what the cluster has, and what is missing.
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
            listing = ", ".join(f"{need:g} {kind}" for kind, need in bundle.items())
            raise ClusterError(
                f"trial {name} needs {listing} together on one node, and no node of the cluster has that, so that it "
                "could never start: " + (_HERE if any(kind.startswith("node:") for kind in bundle) else remedy["CPU"])
            )
