"""FedAvg: clients train by backpropagation, and the server averages their weights by number of examples.

McMahan, Moore, Ramage, Hampson, y Arcas: Communication-Efficient Learning of Deep Networks from Decentralized Data,
AISTATS 2017. It trains the tensors of the blocks in `zo.scope`, by default all. The defaults of its settings are those
of DeComFL's scripts, which compare FedAvg with DeComFL.
"""

from zorba_ray.config import LocalStep
from zorba_ray.methods.base import BackpropMethod


class FedAvg(BackpropMethod):
    """4 d bytes up and 4 d bytes down, for d trained parameters."""

    profiles = {  # noqa: RUF012
        "full backprop, SGD": LocalStep(backward=True),
        "full backprop, AdamW": LocalStep(backward=True, moments=True),
    }
