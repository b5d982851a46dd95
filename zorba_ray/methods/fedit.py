"""FedIT: LoRA adapters trained by AdamW at the clients, averaged by examples.

Zhang, Vahidian, Kuo, Li, Zhang, Yu, Wang, Chen: Towards Building the FederatedGPT, ICASSP 2024. `model.lora` says which
adapters; A and B are averaged each by itself, as published, though the mean of products is not the product of means.
"""

from zorba_ray.methods.first_order import FirstOrderMethod


class FedIT(FirstOrderMethod):
    """4 d bytes each way, d of the adapters."""

    name = "fedit"
