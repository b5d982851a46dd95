"""Which client holds which training example: every example exactly once, no client empty."""

import hashlib

import numpy as np

from zorba_ray.config import DataConfig
from zorba_ray.directions import permutation, uniforms
from zorba_ray.errors import DataError

_SWAPS = 10
"""Random swaps of labels between clients, per shard: they make it random which labels a client has together."""


def partition(
    config: DataConfig, clients: int, labels: np.ndarray, owners: list[str] | None, seed: int
) -> list[np.ndarray]:
    """Row numbers (sorted, int64) of each client.

    Raises:
        DataError: fewer examples than clients, too few or too many labels for label_shards, or too few owners.
    """
    rows = len(labels)
    if rows < clients:
        raise DataError(
            f"data: {rows} training examples for federation.clients={clients}; every client needs at least one"
        )
    if config.partition == "iid":
        parts = [np.sort(part) for part in np.array_split(permutation(seed, "partition", 0, 0, rows), clients)]
    elif config.partition == "dirichlet":
        parts = _dirichlet(labels, clients, config.alpha, seed)
    elif config.partition == "quantity_skew":
        draws = _gammas(config.alpha, clients, seed, 0)
        parts = [np.sort(part) for part in _cut(permutation(seed, "partition", 0, 0, rows), draws)]
    elif config.partition == "label_shards":
        parts = _label_shards(labels, clients, config.labels_per_client, seed)
    else:
        parts = _by_owner(config, clients, owners)
    return _fill_empty(parts)


def partition_digest(parts: list[np.ndarray]) -> str:
    """SHA-256 (hex) of all clients' row numbers; in the ledger's header."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part.astype("<i8").tobytes())
    return hasher.hexdigest()


def _dirichlet(labels: np.ndarray, clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Each label's examples, shuffled, are cut at the cumulated shares of one Dirichlet(alpha) draw over clients."""
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[permutation(seed, "partition", 1, int(label), len(rows))]
        for client, piece in enumerate(_cut(rows, _gammas(alpha, clients, seed, int(label)))):
            parts[client].append(piece)
    return [np.sort(np.concatenate(pieces)) for pieces in parts]


def _cut(rows: np.ndarray, draws: np.ndarray) -> list[np.ndarray]:
    """`rows` cut at the cumulated shares of `draws`, one piece per draw."""
    return np.split(rows, np.round(np.cumsum(draws / draws.sum())[:-1] * len(rows)).astype(np.int64))


def _label_shards(labels: np.ndarray, clients: int, per_client: int, seed: int) -> list[np.ndarray]:
    """Cuts the rows of each label into shards, and gives each client `per_client` shards of different labels.

    McMahan et al. 2017, arXiv 1602.05629; there a shard may have two labels. Shards have about the same size.

    A single client, as of a central method, has all rows.

    Raises:
        DataError: fewer labels than `per_client`, more labels than shards, or fewer rows than the shards need.
    """
    if clients == 1:
        return [np.arange(len(labels))]
    names, counts = np.unique(labels, return_counts=True)
    rule = f"data.labels_per_client={per_client}"
    if len(names) < per_client:
        raise DataError(f"{rule}: the training rows have {len(names)} label(s); set it to {len(names)} or less")
    if len(names) > clients * per_client:
        raise DataError(
            f"{rule}: {clients} clients take {clients * per_client} labels, and the training rows have {len(names)}, "
            f"so some labels would be with no client; set it to {-(-len(names) // clients)} or more"
        )
    max_shards = np.minimum(counts, clients)
    if max_shards.sum() < clients * per_client:
        raise DataError(
            f"{rule}: {clients} clients need {clients * per_client} shards of one row at least, and the labels give "
            f"{max_shards.sum()} (a label at most one per row and per client); lower it, or federation.clients"
        )
    shards = np.ones(len(names), np.int64)
    for _ in range(clients * per_client - len(names)):  # the next shard to the label whose shards are the largest
        shards[np.argmax(np.where(shards < max_shards, counts / shards, -1.0))] += 1
    held = _held_labels(np.repeat(np.arange(len(names)), shards), clients, per_client, seed)
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for position, label in enumerate(names):
        rows = np.flatnonzero(labels == label)
        rows = rows[permutation(seed, "partition", 1, int(label), len(rows))]
        holders = [client for client in range(clients) if position in held[client]]
        for client, shard in zip(holders, np.array_split(rows, shards[position]), strict=True):
            parts[client].append(shard)
    return [np.sort(np.concatenate(pieces)) for pieces in parts]


def _held_labels(shards: np.ndarray, clients: int, per_client: int, seed: int) -> list[list[int]]:
    """`per_client` different labels for each client.

    Args:
        shards: int64 [clients · per_client], the label of each shard, ascending; no label has more shards than there
            are clients.
    """
    # Dealt in turn, a client never gets a label twice. Then clients swap labels at random, where both keep differing.
    held = shards.reshape(per_client, clients).T.tolist()
    draws = uniforms(seed, "partition", 0, 1, 4 * _SWAPS * len(shards)).reshape(-1, 4)
    for a, b, i, j in (draws * (clients, clients, per_client, per_client)).astype(np.int64).tolist():
        if held[a][i] not in held[b] and held[b][j] not in held[a]:
            held[a][i], held[b][j] = held[b][j], held[a][i]
    return held


def _gammas(alpha: float, count: int, seed: int, label: int) -> np.ndarray:
    """float64 [count] ~ Gamma(alpha), scaled by a common factor; Marsaglia and Tsang (2000) on counted uniforms.

    Small alpha uses Gamma(alpha) = Gamma(alpha + 1) · U^(1/alpha), in logarithms so that nothing underflows to 0/0.
    """
    from statistics import NormalDist

    shape = alpha + 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    normal = NormalDist()
    logs, boosts = np.empty(count), np.empty(count)
    for client in range(count):
        for attempt in range(1000):
            u = uniforms(seed, "partition", 2 + client, label << 16 | attempt, 3)
            x = normal.inv_cdf(float(u[0]))
            v = (1.0 + c * x) ** 3
            if v > 0 and np.log(u[1]) < 0.5 * x * x + d - d * v + d * np.log(v):
                with np.errstate(over="ignore"):
                    logs[client] = np.log(d * v) + np.log(u[2]) / alpha
                boosts[client] = np.log(u[2])
                break
    if not np.isfinite(logs.max()):  # alpha so small that one client takes all: the limit
        return (boosts == boosts.max()).astype(np.float64)
    return np.exp(logs - logs.max())


def _by_owner(config: DataConfig, clients: int, owners: list[str] | None) -> list[np.ndarray]:
    if owners is None:
        raise DataError(
            f"data.partition={config.partition}: the training data has no "
            + (
                f"column {config.partition_column!r}; set data.partition_column to the column of owners"
                if config.partition == "column"
                else "train-* files; point data.path to a folder with one file train-NAME per client"
            )
        )
    names = sorted(set(owners))
    exact = config.partition == "files"
    if len(names) < clients or (exact and len(names) != clients):
        what = "training files" if exact else f"values in column {config.partition_column!r}"
        rule = "exactly as many are needed" if exact else "at least as many are needed"
        raise DataError(
            f"data.partition={config.partition}: {len(names)} {what} for {clients} clients; {rule}: set "
            f"federation.clients to {len(names)}{'' if exact else ' or less'}"
        )
    client_of = {name: position % clients for position, name in enumerate(names)}
    client_of_row = np.array([client_of[owner] for owner in owners])
    return [np.flatnonzero(client_of_row == client) for client in range(clients)]


def _fill_empty(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Gives every empty client one example of the then largest one."""
    parts = list(parts)
    for client, part in enumerate(parts):
        if len(part) == 0:
            donor = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[client], parts[donor] = parts[donor][-1:], parts[donor][:-1]
    return parts
