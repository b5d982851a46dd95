"""One round as algorithm.md §3 says it, and nothing clever: the twin that the engine is held to.

Dense z from the stream's definition, two full forwards of a copy of the network with perturbed weights, losses in
float64, aggregation in float64 with the per-block denominator. No grid, no shared prefix, no scratch, no overlay: local
steps walk a copy of the network. Imports neither `zorba_ray.zo` nor the paired forward; only the definition of z.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from zorba_ray.directions import Distribution, direction_seed, tensor_stream
from zorba_ray.directions.reference import direction

Loss = Callable[[Any, Any], float]
"""(network in float64, batch) -> F."""


@dataclass(frozen=True)
class Settings:
    """Symbols of algorithm.md §1."""

    master: int
    lr: float
    scale: float
    directions: int
    local_steps: int
    seeds: Literal["per_client", "shared"]
    weights: Literal["data", "inverse_noise"]
    distribution: Distribution
    scope: str


@dataclass(frozen=True)
class PaperRound:
    """ρ of every client, float64 [K, P], and Δθ of every parameter that moved, float64."""

    scalars: dict[int, np.ndarray]
    delta: dict[str, np.ndarray]


def paper_round(
    network: nn.Module,
    list_name: str,
    loss: Loss,
    settings: Settings,
    number: int,
    active: Mapping[int, Sequence[int]],
    samples: Mapping[int, int],
    batches: Mapping[int, Sequence[Any]],
) -> PaperRound:
    """Round `number` at θ = `network`, which is left as it is.

    Args:
        active: client -> A_n, of the clients whose reports count (R_t).
        samples: client -> |D_n|.
        batches: client -> its K batches.
    """
    scalars = {
        client: _walk(network, list_name, loss, settings, number, client, active[client], batches[client])
        for client in active
    }
    delta: dict[str, np.ndarray] = {}
    for block in sorted({block for own in active.values() for block in own}):
        holders = sorted(client for client in active if block in active[client])
        raw = {n: samples[n] / (len(active[n]) if settings.weights == "inverse_noise" else 1) for n in holders}
        for slot, name, parameter in _tensors(network, list_name, block, settings.scope):
            total = np.zeros(tuple(parameter.shape))
            for n in holders:
                for k in range(settings.local_steps):
                    for p in range(settings.directions):
                        z = _noise(settings, number, n, k, p, block, slot, parameter.shape)
                        total += raw[n] / sum(raw.values()) * scalars[n][k, p] / settings.directions * z
            delta[name] = -settings.lr * total
    return PaperRound(scalars, delta)


def _walk(
    network: nn.Module,
    list_name: str,
    loss: Loss,
    settings: Settings,
    number: int,
    client: int,
    active: Sequence[int],
    batches: Sequence[Any],
) -> np.ndarray:
    """ρ [K, P] of one client, whose copy of the network really takes its K steps."""
    own = copy.deepcopy(network)
    rho = np.zeros((settings.local_steps, settings.directions))
    for k, batch in enumerate(batches):
        for p in range(settings.directions):
            values = []
            for sign in (1.0, -1.0):
                moved = copy.deepcopy(own)
                for block in active:
                    for slot, _, parameter in _tensors(moved, list_name, block, settings.scope):
                        z = _noise(settings, number, client, k, p, block, slot, parameter.shape)
                        parameter += torch.from_numpy(np.float32(sign * settings.scale) * z)
                values.append(loss(moved.double(), batch))
            rho[k, p] = (values[0] - values[1]) / (2 * settings.scale)
        for block in active:
            for slot, _, parameter in _tensors(own, list_name, block, settings.scope):
                step = np.zeros(tuple(parameter.shape))
                for p in range(settings.directions):
                    z = _noise(settings, number, client, k, p, block, slot, parameter.shape)
                    step -= settings.lr * rho[k, p] / settings.directions * z
                parameter.copy_((parameter.double() + torch.from_numpy(step)).float())
    return rho


def _tensors(network: nn.Module, list_name: str, block: int, scope: str) -> list[tuple[int, str, torch.Tensor]]:
    """(slot, name, tensor) of a block in scope; slots count ALL tensors of the block in the order of their names."""
    prefix = f"{list_name}.{block}."
    own = sorted((name, tensor) for name, tensor in network.named_parameters() if name.startswith(prefix))
    wanted = {"all": (1, 2), "matrices": (2,), "bias_norm": (1,)}[scope]
    return [(slot, name, tensor) for slot, (name, tensor) in enumerate(own) if tensor.ndim in wanted]


def _noise(
    settings: Settings, number: int, client: int, k: int, p: int, block: int, slot: int, shape: torch.Size
) -> np.ndarray:
    """z_b(n, k, p), dense, float32."""
    seed = direction_seed(settings.master, number, client if settings.seeds == "per_client" else 0, k)
    stream = tensor_stream(seed, block, slot, p, settings.distribution)
    return direction(stream, 0, shape.numel()).reshape(tuple(shape))
