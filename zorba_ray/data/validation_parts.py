"""The client of each validation or test row, as if these splits were divided like the training rows."""

from collections.abc import Sequence

import numpy as np

from zorba_ray.config import DataConfig
from zorba_ray.data.tasks import Split
from zorba_ray.directions import permutation


def clients_of(config: DataConfig, train: Split, parts: Sequence[np.ndarray], rows: Split, seed: int) -> np.ndarray:
    """The client of each of `rows`: int64, −1 for none.

    Under partition=column and partition=files, a row belongs to the client of its owner: −1 where it has no owner, or
    one without training rows. Otherwise the rows of a label are shuffled and cut, so that a client gets the same share
    of them as of that label's training rows.

    Args:
        parts: the rows of `train` that each client has.
        seed: of the run.
    """
    client_of = np.empty(len(train), dtype=np.int64)
    for client, part in enumerate(parts):
        client_of[part] = client
    if config.partition in ("column", "files"):
        client_of_owner = dict(zip(train.owners or (), client_of.tolist(), strict=True))
        return np.array([client_of_owner.get(owner, -1) for owner in rows.owners or [""] * len(rows)], dtype=np.int64)
    clients = np.full(len(rows), -1, dtype=np.int64)
    for label in np.unique(rows.labels):
        counts = np.bincount(client_of[train.labels == label], minlength=len(parts))
        if counts.any():
            label_rows = np.flatnonzero(rows.labels == label)
            label_rows = label_rows[permutation(seed, "partition", 1, int(label), len(label_rows))]
            ends = np.round(np.cumsum(counts) / counts.sum() * len(label_rows))
            clients[label_rows] = np.searchsorted(ends, np.arange(len(label_rows)), side="right")
    return clients
