"""Which client a row of another split would be with, if the split were dealt out as the training rows are."""

from collections.abc import Sequence

import numpy as np

from zorba_ray.config import DataConfig
from zorba_ray.data.tasks import Split
from zorba_ray.directions import permutation


def clients_of(config: DataConfig, train: Split, parts: Sequence[np.ndarray], rows: Split, seed: int) -> np.ndarray:
    """The client of each of `rows`: int64, −1 for nobody's.

    Under partition=column and partition=files a row is with the client of its owner, and nobody's where it names none,
    or one without training rows. Else the rows of a label are shuffled and cut into pieces: a client gets the same
    share of them as of that label's training rows.

    Args:
        parts: the rows of `train` that each client has.
        seed: of the run.
    """
    client_of = np.empty(len(train), dtype=np.int64)
    for client, part in enumerate(parts):
        client_of[part] = client
    if config.partition in ("column", "files"):
        homes = dict(zip(train.owners or (), client_of.tolist(), strict=True))
        return np.array([homes.get(owner, -1) for owner in rows.owners or [""] * len(rows)], dtype=np.int64)
    found = np.full(len(rows), -1, dtype=np.int64)
    for label in np.unique(rows.labels):
        held = np.bincount(client_of[train.labels == label], minlength=len(parts))
        if held.any():
            places = np.flatnonzero(rows.labels == label)
            places = places[permutation(seed, "partition", 1, int(label), len(places))]
            ends = np.round(np.cumsum(held) / held.sum() * len(places))
            found[places] = np.searchsorted(ends, np.arange(len(places)), side="right")
    return found
