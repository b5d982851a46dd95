"""Rounds of a federation whose clients have linear losses: every quantity of the theory is known, every step is real.

Client n has F_n(θ) = Σ_b g_{n,b} · θ_b, with noise on g for each minibatch. Directions, projected gradients, weights
and the update are those of `zorba_ray`; nothing of the theory is used here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import cpu_directions, direction_seed, tensor_stream
from zorba_ray.models.manifest import build_manifest
from zorba_ray.zo import RoundUpdate, UpdateRule, apply_rounds, projected_gradient

_SCALE = 1e-3  # μ; a linear loss has the same projected gradient for every μ


@dataclass(frozen=True, eq=False)
class Federation:
    """N clients, L blocks of d parameters."""

    active: np.ndarray
    """bool [N, L]."""
    gradients: np.ndarray
    """float64 [N, L, d]: g_{n,b}."""
    weights: Literal["data", "inverse_noise"] = "data"
    seeds: Literal["per_client", "shared"] = "per_client"
    noise: float = 0.0
    """Standard deviation of a minibatch's gradient, per parameter: σ_b² = d · noise²."""
    directions: int = 1
    """P."""

    @property
    def rule(self) -> UpdateRule:
        """Equal data weights, K = 1."""
        return UpdateRule(
            seed=1,
            seeds=self.seeds,
            weights=self.weights,
            distribution="rademacher",
            scope="all",
            directions=self.directions,
            local_steps=1,
            samples=(1,) * len(self.active),
        )


def updates(federation: Federation, rounds: int) -> np.ndarray:
    """float64 [rounds, L, d]: −Δθ / η of independent rounds from θ = 0."""
    clients, blocks, size = federation.gradients.shape
    rule, backend = federation.rule, cpu_directions("auto")
    names = [f"block{b}" for b in range(blocks)]
    manifest = build_manifest(dict.fromkeys(names, (size,)), {name: b for b, name in enumerate(names)}, blocks)
    rng = np.random.default_rng(7)
    zero, drawn = torch.zeros(size), torch.empty(size)
    found = np.empty((rounds, blocks, size))
    for number in range(1, rounds + 1):
        scalars = np.zeros((clients, 1, federation.directions), dtype=np.float32)
        for client in range(clients):
            gradients = federation.gradients[client]
            if federation.noise:
                gradients = gradients + federation.noise * rng.standard_normal(gradients.shape)
            seed = direction_seed(rule.seed, number, rule.stream_of(client), 0)
            for direction in range(federation.directions):
                slope = 0.0
                for block in np.flatnonzero(federation.active[client]).tolist():
                    stream = tensor_stream(seed, block, 0, direction, rule.distribution)
                    backend.perturb_into(drawn, zero, stream, 1.0)  # z itself
                    slope += float(gradients[block] @ drawn.numpy().astype(np.float64))
                scalars[client, 0, direction] = projected_gradient(_SCALE * slope, -_SCALE * slope, _SCALE)
        theta = {name: torch.zeros(size) for name in names}
        update = RoundUpdate(number, 1.0, np.arange(clients), scalars, ActiveSets(federation.active))
        apply_rounds(backend, rule, manifest, theta, [update])
        found[number - 1] = -np.stack([theta[name].numpy() for name in names])
    return found


def equal_holders(clients: int, blocks: int, held: int) -> np.ndarray:
    """bool [N, L]: every client holds `held` blocks in a row, and every block has N · held / L clients."""
    groups = blocks // held
    block_group = np.arange(blocks) // held
    return block_group[None, :] == (np.arange(clients) % groups)[:, None]


def unequal_holders(counts: list[int], blocks: int) -> np.ndarray:
    """bool [N, L]: client n holds counts[n] blocks, dealt in turn."""
    active = np.zeros((len(counts), blocks), dtype=bool)
    turn = 0
    for client, count in enumerate(counts):
        active[client, (turn + np.arange(count)) % blocks] = True
        turn = (turn + count) % blocks
    return active
