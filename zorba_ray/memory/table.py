"""The table of a model: every method, and for zorba every policy and share of active blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zorba_ray.config import ModelConfig
from zorba_ray.memory.count import Client, counted
from zorba_ray.memory.footprint import Footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory, zorba_footprint
from zorba_ray.memory.method import METHODS, ZORBA
from zorba_ray.memory.plain_inventory import plain_footprint
from zorba_ray.memory.policy import POLICIES
from zorba_ray.memory.round_time import round_seconds
from zorba_ray.memory.workload import Workload, workload_of
from zorba_ray.models import Manifest, Scope
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.shapes import skeleton

FRACTIONS = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1))


@dataclass(frozen=True)
class Row:
    """One client."""

    client: Client
    fraction: Fraction | None
    """Share of active blocks; None where the method knows none."""
    modelled: Footprint
    counted: Footprint | None
    """None where it was not asked for."""
    seconds: float
    """Of a round, modelled."""

    @property
    def error(self) -> float | None:
        """Formula against count, relative."""
        return None if self.counted is None else self.modelled.total / self.counted.total - 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        zorba = self.client.method == ZORBA
        return {
            "method": self.client.method.name,
            "policy": self.client.policy.label if zorba else None,
            "fraction": None if self.fraction is None else float(self.fraction),
            "active_blocks": len(self.client.active) if zorba else None,
            "modelled": {"bytes": self.modelled.total, "parts": self.modelled.parts},
            "counted": None if self.counted is None else {"bytes": self.counted.total, "parts": self.counted.parts},
            "round_seconds_modelled": self.seconds,
        }


@dataclass(frozen=True)
class ModelProfile:
    """A model's manifest and workload, from its configuration alone."""

    model: ModelConfig
    compute: str
    scope: Scope
    work: Workload
    manifest: Manifest
    positions: int | None
    """Longest input that the model takes; None: not stated."""

    def facts(self) -> dict[str, Any]:
        """What was asked, for JSON."""
        own = self.work
        return {
            "parameters": self.manifest.numel,
            "blocks": self.manifest.blocks,
            "compute_dtype": self.compute,
            "scope": self.scope,
            "batch_size": own.batch_size,
            "length": own.length,
            "logits": own.logits,
        }

    def rows(self, count: bool, fractions: Sequence[Fraction] = FRACTIONS) -> Iterator[Row]:
        """One after another; a count takes seconds."""
        for client, fraction in clients(self.manifest.blocks, self.scope, fractions):
            yield self.row(client, fraction, count)

    def row(self, client: Client, fraction: Fraction | None, count: bool) -> Row:
        """One client."""
        held = Inventory(self.manifest, client.policy, client.scope, COMPUTE_BYTES[self.compute])
        if client.method == ZORBA:
            known = zorba_footprint(self.manifest, self.compute, client.policy, client.scope, self.work, client.active)
        else:
            known = plain_footprint(self.manifest, self.compute, self.work, client.method)
        seen = counted(self.model, self.compute, self.work, client) if count else None
        return Row(client, fraction, known, seen, round_seconds(held, self.work, client.method, client.active))


def clients(blocks: int, scope: Scope, fractions: Sequence[Fraction]) -> Iterator[tuple[Client, Fraction | None]]:
    """Every method; zorba by policy and by share of active blocks, spread evenly over all from the first on: the set
    that takes the most activations, as frozen blocks behind an active one run on both signs at once."""
    for policy in POLICIES:
        for fraction in fractions if policy.resident else fractions[-1:]:
            number = max(1, round(fraction * blocks))
            active = frozenset(place * blocks // number for place in range(number))
            yield Client(ZORBA, policy, active, scope), fraction
    for method in METHODS:
        if method != ZORBA:
            yield Client(method), None


def model_profile(
    model: ModelConfig, compute: str, scope: Scope, batch_size: int, length: int, labels: int
) -> ModelProfile:
    """Reads a model's configuration; no weights are loaded or fetched.

    Args:
        labels: label words or label prompts; the LM head computes the vocabulary instead.

    Raises:
        ModelError: no such model, or one that the memory model does not know.
    """
    with FakeTensorMode():
        loaded = skeleton(model, torch.float32)
        manifest = model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
    settings = loaded.network.config
    work = workload_of(settings, model.path, batch_size, length, None if model.head == "lm" else labels)
    return ModelProfile(model, compute, scope, work, manifest, getattr(settings, "max_position_embeddings", None))
