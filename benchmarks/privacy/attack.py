"""How well somebody who reads a client's scalars tells its labels, or whether it has a certain row.

The attacker knows the model, the directions, the privacy settings, and other rows of the same kind with their labels.
It makes reports of such rows as a client would, and learns from them (logistic regression). The client answers ROUNDS
rounds at θ0 with the same batch in each, which is the best case for the attacker. A report is of a batch, or has a
scalar for each of its rows. Its scalar along a direction is the mean of those of its rows.

The advantage is (accuracy − chance) / (1 − chance). No attack on a private run has more than 2 Φ(m/2) − 1, whatever it
knows (`zorba_ray/privacy/gaussian.py`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.rows import Row, make_row
from zorba_ray.config import load_config
from zorba_ray.experiment.build import prepare
from zorba_ray.models import Batch
from zorba_ray.privacy import GaussianMechanism, delta_of, multiplier_for
from zorba_ray.privacy.gaussian import ratio
from zorba_ray.tables import wilson

ROUNDS, PAIRS, BATCH, DELTA = 16, 4, 4, 1e-5
EPSILONS = (None, 64.0, 8.0, 4.0, 2.0)
"""None: without noise."""
SCALE = 1e-3
"""μ."""


@dataclass(frozen=True)
class RowScalars:
    """The scalars of single rows along the same directions, at θ0."""

    rho: np.ndarray
    """float64 [rows, ROUNDS · PAIRS]."""
    labels: np.ndarray
    """int64 [rows]."""


def row_scalars(rows: int, directions: int) -> RowScalars:
    """Central differences of the demonstration's first training rows, on all tensors of its blocks."""
    overrides = ["federation.backend=sequential", "federation.fleet=null", "memory={frozen: device}"]
    setup = prepare(load_config("demo", [*overrides, "tracking.wandb=disabled", f"data.train_rows={rows}"]))
    table, replica = setup.shards.table, setup.model.replica
    pad = int(setup.model.loaded.tokenizer.pad_token_id)
    batches = [
        Batch.of(*table.collate(np.arange(first, min(first + 64, len(table))), pad))
        for first in range(0, len(table), 64)
    ]
    moved = [replica.parameters[entry.name] for entry in setup.manifest.moved("all")]
    generator, origin = torch.Generator().manual_seed(7), [tensor.clone() for tensor in moved]
    rho = np.zeros((len(table), directions))
    for direction in range(directions):
        z = [torch.randint(0, 2, t.shape, generator=generator).float().mul_(2).sub_(1) for t in moved]
        losses = []
        for sign in (SCALE, -SCALE):
            for tensor, start, part in zip(moved, origin, z, strict=True):
                tensor.copy_(start + sign * part)
            losses.append(setup.model.evaluate(batches).row_losses)
        rho[:, direction] = (losses[0] - losses[1]) / (2 * SCALE)
    return RowScalars(rho, table.labels)


def told(reports: np.ndarray, epsilon: float | None, generator: np.random.Generator) -> np.ndarray:
    """What clients send: float64 [clients, rounds, scalars], with noise for ε over all rounds.

    The clip is the median norm of a round's scalars.
    """
    if epsilon is None:
        return reports
    noise = noise_of(reports, epsilon)
    keys = generator.bytes(32 * reports.shape[0] * reports.shape[1])
    flat = reports.reshape(-1, reports.shape[2]).astype("<f4")
    sent = [noise.release(row.tobytes(), keys[32 * n : 32 * n + 32]) for n, row in enumerate(flat)]
    return np.frombuffer(b"".join(sent), "<f4").astype(np.float64).reshape(reports.shape)


def noise_of(reports: np.ndarray, epsilon: float) -> GaussianMechanism:
    clip = float(np.median(np.linalg.norm(reports, axis=2)))
    return GaussianMechanism(clip, multiplier_for(epsilon, DELTA, ROUNDS))


def label_reports(
    scalars: RowScalars, rows: np.ndarray, clients: int, per_example: bool, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(reports [clients, ROUNDS, …], label of each): the rows of a client's batch all have one label."""
    labels = generator.integers(0, int(scalars.labels.max()) + 1, clients)
    reports = []
    for label in labels:
        own = generator.choice(rows[scalars.labels[rows] == label], BATCH, replace=False)
        reports.append(_report(scalars.rho[own], per_example))
    return np.stack(reports), labels


def member_reports(
    scalars: RowScalars, rows: np.ndarray, clients: int, per_example: bool, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(reports, whether the candidate row is in the batch, scalars of the candidate [clients, n])."""
    inside, reports, candidates = generator.integers(0, 2, clients), [], []
    for member in inside:
        own = generator.choice(rows, BATCH + 1, replace=False)
        candidates.append(scalars.rho[own[BATCH]])
        batch = own[1:] if member else own[:BATCH]
        reports.append(_report(scalars.rho[generator.permutation(batch)], per_example))
    return np.stack(reports), inside, np.stack(candidates)


def _report(rho: np.ndarray, per_example: bool) -> np.ndarray:
    """[ROUNDS, PAIRS] of the batch's mean, or [ROUNDS, PAIRS · BATCH]."""
    if not per_example:
        return rho.mean(axis=0).reshape(ROUNDS, PAIRS)
    return rho.reshape(BATCH, ROUNDS, PAIRS).transpose(1, 2, 0).reshape(ROUNDS, -1)


def member_features(sent: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Products of the report with the candidate's scalars; of a report per example the largest over its rows too."""
    by_row = sent.reshape(len(sent), ROUNDS * PAIRS, -1)  # [clients, n, 1 or BATCH]
    products = np.einsum("cnb,cn->cb", by_row, candidates) / np.linalg.norm(candidates, axis=1)[:, None]
    distances = -np.linalg.norm(by_row - candidates[:, :, None], axis=1)
    return np.stack([products.max(axis=1), products.sum(axis=1), distances.max(axis=1)], axis=1)


def guessed_right(train: np.ndarray, answers: np.ndarray, test: np.ndarray, truth: np.ndarray) -> int:
    """How many of `test` a logistic regression learned from `train` guesses right."""
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=0.1, max_iter=300).fit(scaler.transform(train), answers)
    return int((model.predict(scaler.transform(test)) == truth).sum())


def attack_rows(quick: bool) -> list[Row]:
    """Labels and membership, batch and example directions, without noise and by ε."""
    scalars = row_scalars(160 if quick else 512, ROUNDS * PAIRS)
    half = len(scalars.labels) // 2
    known, secret = np.arange(half), np.arange(half, 2 * half)
    learn, clients = (400, 200) if quick else (3000, 1000)
    rows = []
    for per_example in (False, True):
        for epsilon in EPSILONS:
            generator = np.random.default_rng(11)
            (seen, labels), (own, truth) = (
                label_reports(scalars, part, count, per_example, generator)
                for part, count in ((known, learn), (secret, clients))
            )
            flat = [told(part, epsilon, generator).reshape(len(part), -1) for part in (seen, own)]
            right = guessed_right(flat[0], labels, flat[1], truth)
            rows.append(_row("label of a batch", per_example, epsilon, right, clients, 1 / (labels.max() + 1)))
            (seen, inside, candidates), (own, truth, others) = (
                member_reports(scalars, part, count, per_example, generator)
                for part, count in ((known, learn), (secret, clients))
            )
            features = [
                member_features(told(part, epsilon, generator), whom)
                for part, whom in ((seen, candidates), (own, others))
            ]
            right = guessed_right(features[0], inside, features[1], truth)
            rows.append(_row("membership of a row", per_example, epsilon, right, clients, 1 / 2))
    return rows


def _row(what: str, per_example: bool, epsilon: float | None, right: int, clients: int, chance: float) -> Row:
    low, high = wilson(right / clients, clients)
    advantages = [float((share - chance) / (1 - chance)) for share in (low, right / clients, high)]
    bound = 1.0 if epsilon is None else delta_of(ratio(multiplier_for(epsilon, DELTA, ROUNDS), ROUNDS), 0.0)
    name = f"privacy_attack {what}, {'a scalar per example' if per_example else 'a scalar per batch'}, "
    name += "no noise" if epsilon is None else f"ε = {epsilon:g}"
    details = {"conditions": f"{ROUNDS} rounds of {PAIRS} pairs, batch {BATCH}, {clients} clients, 95 % interval"}
    met = None if epsilon is None else bool(advantages[0] <= bound)
    return make_row(name, advantages, "advantage", "" if epsilon is None else f"<= {bound:.3f}", met, details=details)
