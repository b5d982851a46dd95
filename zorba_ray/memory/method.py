"""The methods whose memory is known, and what each keeps beside a plain model."""

from dataclasses import dataclass, replace
from typing import Literal

from zorba_ray.config import ExperimentConfig
from zorba_ray.config.model import LoraConfig


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
    targets: Literal["attention", "all"] = "attention"
    """Layers of a block with adapters: query, key, value and output projections, or every linear one."""
    seeds: int = 0
    """Candidate seeds with an accumulator each."""


ZORBA = Method("zorba", "zorba", False)
SGD = Method("sgd", "full backprop, SGD", True)
"""Weights, gradients; no momentum."""
ADAMW = Method("adamw", "full backprop, AdamW", True)
"""Two moments per parameter, in the compute dtype as the weights are: the least that AdamW can hold."""
LORA = Method("lora", "FedIT: LoRA r 16 + AdamW", True, rank=16)
MEZO_LORA = Method("mezo-lora", "FedMeZO: MeZO on LoRA r 128", False, rank=128)
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
    """The memory of the method of a configuration, its ranks and pools as set there."""
    lora = config.model.lora or LoraConfig()  # read by methods that need the section
    return {
        "zorba": ZORBA,
        "fedavg": ADAMW if config.first_order.optimizer == "adamw" else SGD,
        "fedit": replace(LORA, rank=lora.rank, targets=lora.targets),
        "fedmezo": replace(MEZO_LORA, rank=lora.rank, targets=lora.targets),
        "decomfl": DECOMFL,
        "fedkseed": replace(FEDKSEED, seeds=config.fedkseed.pool),
        "mezo": MEZO,
    }[config.method]
