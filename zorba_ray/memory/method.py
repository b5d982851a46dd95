"""The methods whose memory is known, and what each keeps beside a plain model."""

from dataclasses import dataclass, replace

from zorba_ray.config import ExperimentConfig
from zorba_ray.config.model import LoraConfig
from zorba_ray.models import Manifest, Scope, TensorEntry
from zorba_ray.models.lora import Targets


@dataclass(frozen=True)
class Method:
    """One method, as its memory is modelled and counted: in the compute dtype, no dropout, no checkpointing."""

    name: str
    """As it stands on a command line."""
    label: str
    """As it stands in a table."""
    first_order: bool
    """By backpropagation, or by forward passes."""
    rank: int = 0
    """r of the LoRA adapters that alone are trained; 0: the model itself is."""
    targets: Targets = "attention"
    """Layers of a block with adapters."""
    seeds: int = 0
    """Candidate seeds with an accumulator each."""
    scope: Scope | None = None
    """Tensors of the blocks that alone are trained, as in a run (without adapters); None: all of the model, as
    published."""

    @property
    def moments(self) -> bool:
        """Whether AdamW keeps two of every trained parameter."""
        return self.name in ("adamw", "lora")

    def trained(self, manifest: Manifest) -> tuple[TensorEntry, ...]:
        """What a step moves, where that is no adapters."""
        return manifest.tensors if self.scope is None else manifest.moved(self.scope)


ZORBA = Method("zorba", "zorba", False)
SGD = Method("sgd", "full backprop, SGD", True)
"""Weights, gradients; no momentum."""
ADAMW = Method("adamw", "full backprop, AdamW", True)
"""Two moments per parameter, in the compute dtype as the weights are: the least that AdamW can hold."""
LORA = Method("lora", "FedIT: LoRA r 16 + AdamW", True, rank=16, targets="query")
MEZO_LORA = Method("mezo-lora", "FedMeZO: MeZO on LoRA r 128", False, rank=128, targets="query_value")
"""θ stays; the adapters are moved in place, z drawn again tensor by tensor."""
MEZO = Method("mezo", "MeZO", False)
"""θ moved in place, z drawn again tensor by tensor."""
DECOMFL_BATCH = Method("decomfl-batch", "DeComFL, stored z", False)
"""One flat z, kept from the first perturbation to the update."""
DECOMFL = Method("decomfl", "DeComFL, per tensor", False)
"""z drawn again tensor by tensor; the copy of the pulled model lies in host memory, as published."""
FEDKSEED = Method("fedkseed", "FedKSeed, 4096 seeds", False, seeds=4096)
"""MeZO's step and one fp32 accumulator per candidate seed."""

METHODS = (ZORBA, SGD, ADAMW, LORA, MEZO_LORA, MEZO, DECOMFL_BATCH, DECOMFL, FEDKSEED)


def method_of(config: ExperimentConfig) -> Method:
    """The memory of the method of a configuration, its ranks, pools and trained tensors as set there.

    Raises:
        ConfigError: zo.scope=auto, before anything was chosen.
    """
    own = {
        "zorba": ZORBA,
        "fedavg": ADAMW if config.first_order.optimizer == "adamw" else SGD,
        "fedit": LORA,
        "fedmezo": MEZO_LORA,
        "decomfl": DECOMFL,
        "fedkseed": replace(FEDKSEED, seeds=config.fedkseed.pool),
        "mezo": MEZO,
    }[config.method]
    scope = config.zo.fixed_scope
    if scope != "lora":
        return replace(own, scope=scope)
    lora = config.model.lora or LoraConfig()  # a scope of adapters that are not there is refused elsewhere
    return replace(own, rank=lora.rank, targets=lora.targets)
