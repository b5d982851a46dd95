"""FedAvg: full backpropagation at the clients, weights averaged by examples.

McMahan, Moore, Ramage, Hampson, y Arcas: Communication-Efficient Learning of Deep Networks from Decentralized Data,
AISTATS 2017. It trains the tensors of the blocks that `zo.scope` names, by default all. The defaults of its settings
are those of DeComFL's scripts, which run it beside their own method.
"""

from zorba_ray.config import LocalStep
from zorba_ray.methods.base import BackpropMethod


class FedAvg(BackpropMethod):
    """4 d bytes each way."""

    profiles = {  # noqa: RUF012
        "full backprop, SGD": LocalStep(backward=True),
        "full backprop, AdamW": LocalStep(backward=True, moments=True),
    }
