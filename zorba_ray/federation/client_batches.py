"""A client's examples as the model takes them."""

import numpy as np
import torch

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Shards
from zorba_ray.models import Batch


class ClientBatches:
    """Batches of the clients of `shards`, on `device`, corrected for label shares where settings ask for it."""

    def __init__(self, config: ExperimentConfig, shards: Shards, pad: int, device: str) -> None:
        self._shards, self._pad, self._device = shards, pad, device
        self._labels = len(config.data.label_words) if config.data.label_shift == "correct" else 0

    def batch(self, client: int, examples: np.ndarray) -> Batch:
        """Some of a client's examples (int64, by their place among its own)."""
        arrays = self._shards.collate(client, examples, self._pad)
        ids, mask, labels = (torch.from_numpy(array) for array in arrays)
        shift = torch.from_numpy(self._shards.label_shift(client, self._labels)) if self._labels else None
        return Batch(ids, mask, labels, shift).to(self._device)
