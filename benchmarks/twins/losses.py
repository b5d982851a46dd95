"""The plain forward that twins are given."""

from collections.abc import Callable

import torch

from zorba_ray.models import Batch, LoadedModel
from zorba_ray.models.heads import Head, model_inputs


def plain_loss(loaded: LoadedModel, head: Head, batch: Batch) -> Callable[[], float]:
    """F(θ) on `batch` by one full forward of all B rows: the mean loss in fp32."""

    @torch.inference_mode()
    def loss() -> float:
        inputs = model_inputs(loaded, batch.ids_BT, batch.mask_BT)
        return float(head.losses(loaded.backbone(**inputs, use_cache=False)[0], batch)[0].mean())

    return loss
