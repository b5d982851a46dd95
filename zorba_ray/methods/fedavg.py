"""FedAvg: full backpropagation at the clients, weights averaged by examples.

McMahan, Moore, Ramage, Hampson, y Arcas: Communication-Efficient Learning of Deep Networks from Decentralized Data,
AISTATS 2017. It trains the tensors of the blocks that `zo.scope` names, by default all.
"""

from zorba_ray.methods.first_order import FirstOrderMethod


class FedAvg(FirstOrderMethod):
    """4 d bytes each way."""

    name = "fedavg"
