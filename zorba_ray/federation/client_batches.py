"""A client's examples as the model takes them."""

import numpy as np
import torch

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Shards
from zorba_ray.models import Batch
from zorba_ray.zo import scheduled


class ClientBatches:
    """Batches of the clients of `shards`, on `device`, corrected for label shares where settings ask for it."""

    def __init__(self, config: ExperimentConfig, shards: Shards, pad: int, device: str) -> None:
        self._shards, self._pad, self._device = shards, pad, device
        self._config = config
        self._share = config.data.label_shift
        self._counts = shards.label_counts(len(config.data.label_words)) if self._share else np.zeros(0)

    def batch(self, client: int, examples: np.ndarray, round: int = 1) -> Batch:
        """Some of a client's examples (int64, by their place among its own), corrected as in `round` (1 … rounds)."""
        arrays = self._shards.collate(client, examples, self._pad)
        ids, mask, labels = (torch.from_numpy(array) for array in arrays)
        shift = None
        if self._share:
            share = scheduled(self._config.data.label_shift_schedule, self._share, round, self._config.rounds)
            shift = torch.from_numpy(share * self._shards.label_shift(client, self._counts)).float()
        return Batch(ids, mask, labels, shift).to(self._device)
