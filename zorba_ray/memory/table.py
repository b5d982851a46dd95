"""The table of a model: zorba by where blocks live and by share of active ones, and every other method."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zorba_ray.config import DEFAULT_METHOD, LocalStep, ModelConfig, load_method, method_names
from zorba_ray.memory.activations import Workload, workload_of
from zorba_ray.memory.count import Step, counted
from zorba_ray.memory.footprint import Footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory, zorba_footprint
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.models import STREAMED, Manifest, Placement, Scope
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.shapes import skeleton

FRACTIONS = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1))
ACCELERATOR, FLOPS, LINK, MEMORY = "RTX 4090", 140e12, 25e9, 1.0e12
"""Usable rates of a device, as assumed: FLOP/s in bf16, bytes/s to the host, bytes/s of its own memory."""


@dataclass(frozen=True)
class ProfiledClient:
    """What a row is about."""

    method: str
    label: str
    step: Step
    fraction: Fraction | None = None
    """Share of active blocks; None where the method knows none."""


@dataclass(frozen=True)
class Row:
    """One client."""

    client: ProfiledClient
    modelled: Footprint | None
    """None of a method that is only counted."""
    counted: Footprint | None
    """None where it was not asked for."""
    seconds: float
    """Of a round, modelled."""

    @property
    def footprint(self) -> Footprint:
        """The formula's where there is one."""
        footprint = self.modelled or self.counted
        assert footprint is not None
        return footprint

    @property
    def error(self) -> float | None:
        """Formula against count, relative."""
        if self.counted is None or self.modelled is None:
            return None
        return self.modelled.total / self.counted.total - 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        step, told = self.client.step, {"modelled": self.modelled, "counted": self.counted}
        return {
            "method": self.client.method,
            "label": self.client.label,
            "fraction": None if self.client.fraction is None else float(self.client.fraction),
            "active_blocks": len(step.active) if isinstance(step, PairedStep) else None,
            **{source: found and {"bytes": found.total, "parts": found.parts} for source, found in told.items()},
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
        return {
            "parameters": self.manifest.numel,
            "blocks": self.manifest.blocks,
            "compute_dtype": self.compute,
            "scope": self.scope,
            "batch_size": self.work.batch_size,
            "length": self.work.length,
            "logits": self.work.logits,
        }

    def rows(self) -> Iterator[Row]:
        """One after another; where there is no formula a count takes seconds."""
        for client in clients(self.manifest.blocks, self.scope, FRACTIONS):
            yield self.row(client)

    def row(self, client: ProfiledClient, count: bool = False) -> Row:
        """One client. `count`: also where there is a formula."""
        step, modelled = client.step, None
        if isinstance(step, PairedStep):
            held = Inventory(self.manifest, step.placement, step.scope, COMPUTE_BYTES[self.compute], step.resident)
            modelled = zorba_footprint(held, self.work, step.active)
            seconds = _pair_seconds(held, self.work, step.active)
        else:
            seconds = _plain_seconds(self.manifest, COMPUTE_BYTES[self.compute], self.work, step)
        live = counted(self.model, self.compute, self.work, step) if count or modelled is None else None
        return Row(client, modelled, live, seconds)


def clients(blocks: int, scope: Scope, fractions: Sequence[Fraction]) -> Iterator[ProfiledClient]:
    """Every method; zorba by placement and by share of active blocks, spread evenly over all from the first on: the set
    that takes the most activations, as frozen blocks behind an active one run on both signs at once."""
    places = [(Placement(frozen, master), True) for frozen in ("device", "host") for master in ("device", "host")]
    for placement, resident in (*places, (STREAMED, False)):
        for fraction in fractions if resident else fractions[-1:]:
            number = max(1, round(fraction * blocks))
            active = frozenset(index * blocks // number for index in range(number))
            step = PairedStep(placement, active, scope, resident)
            yield ProfiledClient(DEFAULT_METHOD, step.label, step, fraction)
    for name in method_names():
        for label, step in load_method(name).profiles.items():
            yield ProfiledClient(name, label, step)


def model_profile(
    model: ModelConfig, compute: str, scope: Scope, batch_size: int, length: int, labels: int | None
) -> ModelProfile:
    """Reads a model's configuration; no weights are loaded or fetched.

    Args:
        labels: label words or label prompts; None: a next-token loss, over the vocabulary.

    Raises:
        ModelError: no such model, or one that the memory model does not know.
    """
    with FakeTensorMode():
        loaded = skeleton(model, torch.float32)
        manifest = model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
    settings = loaded.network.config
    work = workload_of(settings, model.path, batch_size, length, None if model.head == "lm" else labels)
    return ModelProfile(model, compute, scope, work, manifest, getattr(settings, "max_position_embeddings", None))


def _pair_seconds(held: Inventory, work: Workload, active: frozenset[int]) -> float:
    """Seconds of one forward pair (P = K = 1) by arithmetic alone, never a measurement.

    A forward takes 2 FLOP per block parameter and token; label words make the head free. Blocks below the first active
    one run once, all others twice; each block that is not resident crosses the link once, and with the master on the
    host the copies of active blocks too. Compute and link overlap fully, so the larger counts; θ is read and scratch
    written once per sign. Host work, network and attention's own product, 2·B·T²·H per layer, are left out.
    """
    manifest, tokens = held.manifest, work.batch_size * work.length
    compute = sum(
        2 * tensor.numel * tokens * (1 if block < min(active) else 2)
        for block in held.blocks
        for tensor in manifest.by_block[block]
    )
    streamed = held.streamed(active)
    if held.resident and held.placement.master == "host":
        streamed += sum(held.moved(block) for block in active)
    drawn = sum(2 * 2 * held.moved(block) for block in active)
    return max(compute / FLOPS, streamed / LINK) + drawn / MEMORY


def _plain_seconds(manifest: Manifest, size: int, work: Workload, step: LocalStep) -> float:
    """The same of one local step with everything on the accelerator.

    Backpropagation: three forwards' worth, with adapters two (no gradients of frozen weights), and the optimizer reads
    and writes what it moves. Else two forwards, and four passes that read and write all weights; over adapters alone a
    pass is next to nothing.
    """
    inside = sum(tensor.numel for block in range(manifest.blocks) for tensor in manifest.by_block[block])
    forwards = (2 if step.rank else 3) if step.backward else 2
    passes = 0 if step.rank else 2 if step.backward else 4 * 2
    tokens = work.batch_size * work.length
    return forwards * 2 * inside * tokens / FLOPS + passes * size * manifest.numel / MEMORY
