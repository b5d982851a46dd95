"""Settings that only the methods beside zorba read, what their authors published, and what each of them cannot do."""

from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from zorba_ray.config.base import StrictModel

if TYPE_CHECKING:
    from zorba_ray.config.experiment import ExperimentConfig

MethodName = Literal["zorba", "fedavg", "fedit", "fedmezo", "decomfl", "fedkseed", "mezo"]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
FIRST_ORDER: frozenset[str] = frozenset({"fedavg", "fedit"})
"""Methods that backpropagate."""
WITH_ADAPTERS: frozenset[str] = frozenset({"fedit", "fedmezo"})
"""Methods that train LoRA adapters and nothing else."""

SCALAR: frozenset[str] = frozenset({"zorba", "decomfl", "mezo"})
"""Methods whose update is derived from a round's scalars."""


class FirstOrderConfig(StrictModel):
    """Local training by backpropagation, for fedavg and fedit."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Of a client's local steps; its state begins anew in every round, as no client keeps any."""
    lr: float = Field(default=1e-3, gt=0)
    """η at round 1; `schedule` gives the rest."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How η falls to 0 over `rounds`."""
    weight_decay: float = Field(default=0.0, ge=0)
    """As torch.optim's SGD and AdamW take it."""
    local_steps: int = Field(default=10, ge=1)
    """K, minibatches that a client trains on before it reports."""


class KSeedConfig(StrictModel):
    """FedKSeed's candidate seeds."""

    pool: int = Field(default=4096, ge=1, le=10**6)
    """Candidate seeds; every direction of a run is one of theirs."""


PUBLISHED: dict[str, dict[str, Any]] = {
    "zorba": {},
    # FedAvg as DeComFL's scripts run it beside their own method.
    "fedavg": {"first_order.optimizer": "sgd", "first_order.lr": 1e-3},
    # FederatedGPT-Shepherd, main.py: r 16, α 16 on the query projection, rate 3e-4.
    "fedit": {
        "first_order.optimizer": "adamw",
        "first_order.lr": 3e-4,
        "zo.scope": "lora",
        "model.lora": {"rank": 16, "alpha": 16.0, "targets": "query"},
    },
    # FederatedScope, branch FedMeZO.
    "fedmezo": {
        "zo.lr": 1e-5,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.local_steps": 30,
        "zo.scope": "lora",
        "model.lora": {"rank": 128, "alpha": 256.0, "targets": "query_value"},
        "data.batch_size": 1,
    },
    # DeComFL: README and run scripts, OPT-125M.
    "decomfl": {
        "zo.lr": 5e-6,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.directions": 5,
        "zo.difference": "forward",
        "federation.seeds": "shared",
    },
    # FederatedScope, branch FedKSeed.
    "fedkseed": {
        "zo.lr": 3e-7,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.perturbation_scale": 5e-4,
        "zo.local_steps": 200,
        "data.batch_size": 1,
    },
    # MeZO, OPT: rate 1e-6, batch 16.
    "mezo": {"zo.lr": 1e-6, "zo.schedule": "constant", "zo.distribution": "gaussian", "federation.clients": 1},
}
"""Method -> dotted setting -> the value that its authors published, which stands where nothing else was said."""


def with_published(tree: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the published settings of its method where it says nothing; the argument is left as it is.

    Zorba's two-sided differences are the paper's; with several dense directions a step they give way to one-sided ones,
    which learn more per forward pass (LOG.md, 2026-11-28).
    """
    method = str(tree.get("method", "zorba"))
    published = dict(PUBLISHED.get(method, {}))
    if method == "zorba" and _several_dense(tree.get("zo")):
        published["zo.difference"] = "forward"
    for key, value in published.items():
        section, name = key.split(".")
        own = tree.get(section)
        if own is None or (isinstance(own, dict) and name not in own):
            tree = {**tree, section: {**(own or {}), name: value}}
    return tree


def _several_dense(zo: Any) -> bool:
    """Whether a section as it was written, not validated yet, asks for two or more dense directions."""
    if not isinstance(zo, dict) or zo.get("rank") is not None:
        return False
    try:
        return int(zo.get("directions", 1)) > 1
    except (TypeError, ValueError, OverflowError):
        return False


def refuse_what_it_cannot(config: "ExperimentConfig") -> None:
    """Raises ValueError: a setting that the method of `config` knows nothing of, or cannot follow."""
    method, zo, federation = config.method, config.zo, config.federation
    if method == "zorba":
        return
    if federation.fleet is not None:
        raise ValueError(
            f"method={method} activates every block at every client, so no VRAM budget can be kept: drop "
            "federation.fleet, or set method=zorba"
        )
    if (config.memory.frozen, config.memory.master) != ("device", "device"):
        raise ValueError(
            f"memory.frozen={config.memory.frozen}, memory.master={config.memory.master}: method={method} keeps its "
            "whole model on the accelerator; set both to device"
        )
    if config.allocation != type(config.allocation)():
        raise ValueError(f"method={method} has no blocks to allocate: drop the section allocation")
    if zo.rank is not None:
        raise ValueError(f"zo.rank={zo.rank}: method={method} is defined with dense directions only")
    if method not in SCALAR and zo.clip_spread is not None:
        raise ValueError(
            f"zo.clip_spread={zo.clip_spread:g}: only methods whose commits are the scalars of one round know it "
            f"({', '.join(sorted(SCALAR))}), not method={method}; drop it"
        )
    if method not in SCALAR and zo.scope == "auto":
        raise ValueError(f"zo.scope=auto: method={method} probes nothing; name a scope, such as zo.scope=all")
    if method in WITH_ADAPTERS and config.model.lora is None:
        raise ValueError(f"method={method} trains LoRA adapters: set model.lora, as in model.lora.rank=8")
    if method in WITH_ADAPTERS and zo.scope != "lora":
        raise ValueError(f"zo.scope={zo.scope}: method={method} trains the adapters alone; set zo.scope=lora")
    if method == "decomfl" and federation.seeds != "shared":
        raise ValueError("federation.seeds=per_client: decomfl averages scalars, which needs federation.seeds=shared")
    if method == "mezo" and federation.clients != 1:
        raise ValueError(f"federation.clients={federation.clients}: mezo is central; set federation.clients=1")
    if method == "fedkseed" and zo.schedule != "constant":
        raise ValueError(
            f"zo.schedule={zo.schedule}: fedkseed sums the scalars of a seed over rounds, which needs one rate for all "
            "of them; set zo.schedule=constant"
        )
    if method in ("fedkseed", "fedmezo") and (zo.directions != 1 or zo.difference != "central"):
        raise ValueError(
            f"zo.directions={zo.directions}, zo.difference={zo.difference}: {method} takes one central difference per "
            "local step; set zo.directions=1 and zo.difference=central"
        )
