"""The methods whose memory is known, and what each keeps beside a plain model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One method, as its memory is modelled and counted: in the compute dtype, no dropout, no checkpointing."""

    name: str
    """As it stands on a command line."""
    label: str
    """As it stands in a table."""
    first_order: bool
    """By backpropagation, or by forward passes."""


ZORBA = Method("zorba", "zorba", False)
SGD = Method("sgd", "full backprop, SGD", True)
"""Weights, gradients; no momentum."""
ADAMW = Method("adamw", "full backprop, AdamW", True)
"""Two moments per parameter, in the compute dtype as the weights are: the least that AdamW can hold."""
LORA = Method("lora", "FedIT: LoRA r 16 + AdamW", True)
"""Adapters on the attention projections (query, key, value, output); everything else frozen."""
MEZO = Method("mezo", "MeZO", False)
"""θ moved in place, z drawn again tensor by tensor."""
DECOMFL_BATCH = Method("decomfl-batch", "DeComFL, stored z", False)
"""One flat z, kept from the first perturbation to the update."""
DECOMFL = Method("decomfl", "DeComFL, per tensor", False)
"""z drawn again tensor by tensor; the copy of the pulled model lies in host memory, as published."""
FEDKSEED = Method("fedkseed", "FedKSeed, 4096 seeds", False)
"""MeZO's step and one fp32 accumulator per candidate seed."""

METHODS = (ZORBA, SGD, ADAMW, LORA, MEZO, DECOMFL_BATCH, DECOMFL, FEDKSEED)

LORA_RANK = 16
CANDIDATE_SEEDS = 4096
