"""The memory table of a model: zorba by placement and share of active blocks, and every other method."""

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
"""A device and its assumed speeds: FLOP/s in bf16, bytes/s to the host, bytes/s of its own memory."""


@dataclass(frozen=True)
class ProfiledClient:
    """The client of a row: its method and step."""

    method: str
    label: str
    step: Step
    fraction: Fraction | None = None
    """Share of active blocks; None for a method without active blocks."""


@dataclass(frozen=True)
class Row:
    """The memory and time of one client."""

    client: ProfiledClient
    modelled: Footprint | None
    """By formula; None for a method that is only counted."""
    counted: Footprint | None
    """None if it was not requested."""
    seconds: float
    """Modelled time of a round."""

    @property
    def footprint(self) -> Footprint:
        """The modelled one if there is one, else the counted one."""
        footprint = self.modelled or self.counted
        assert footprint is not None
        return footprint

    @property
    def error(self) -> float | None:
        """Relative difference of formula and count."""
        if self.counted is None or self.modelled is None:
            return None
        return self.modelled.total / self.counted.total - 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        step, footprints = self.client.step, {"modelled": self.modelled, "counted": self.counted}
        return {
            "method": self.client.method,
            "label": self.client.label,
            "fraction": None if self.client.fraction is None else float(self.client.fraction),
            "active_blocks": len(step.active) if isinstance(step, PairedStep) else None,
            **{
                source: footprint and {"bytes": footprint.total, "parts": footprint.parts}
                for source, footprint in footprints.items()
            },
            "round_seconds_modelled": self.seconds,
        }


@dataclass(frozen=True)
class ModelProfile:
    """A model's manifest and workload, from its configuration only, without weights."""

    model: ModelConfig
    compute: str
    scope: Scope
    work: Workload
    manifest: Manifest
    positions: int | None
    """Longest input that the model takes; None: not stated."""

    def facts(self) -> dict[str, Any]:
        """The arguments of the profile, for JSON."""
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
        """The rows, one after another. Counting, where there is no formula, takes seconds."""
        for client in clients(self.manifest.blocks, self.scope, FRACTIONS):
            yield self.row(client)

    def row(self, client: ProfiledClient, count: bool = False) -> Row:
        """The row of one client. `count`: count also if there is a formula."""
        step, modelled = client.step, None
        if isinstance(step, PairedStep):
            size = COMPUTE_BYTES[self.compute]
            inventory = Inventory(self.manifest, step.placement, step.scope, size, step.resident, step.stem_format)
            modelled = zorba_footprint(inventory, self.work, step.active)
            seconds = _pair_seconds(inventory, self.work, step.active)
        else:
            seconds = _plain_seconds(self.manifest, COMPUTE_BYTES[self.compute], self.work, step)
        live = counted(self.model, self.compute, self.work, step) if count or modelled is None else None
        return Row(client, modelled, live, seconds)


def clients(blocks: int, scope: Scope, fractions: Sequence[Fraction]) -> Iterator[ProfiledClient]:
    """The clients of all methods. Zorba has one per placement and share of active blocks.

    Active blocks are spread evenly, from the first block on. This takes the most activations, because frozen blocks
    after an active one run on both signs at once.
    """
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
    """Reads a model's configuration; no weights are loaded or downloaded.

    Args:
        labels: number of label words or label prompts; None: a next-token loss, over the vocabulary.

    Raises:
        ModelError: no such model, or a model whose memory cannot be modelled.
    """
    with FakeTensorMode():
        loaded = skeleton(model, torch.float32)
        manifest = model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
    settings = loaded.network.config
    work = workload_of(settings, model.path, batch_size, length, None if model.head == "lm" else labels)
    return ModelProfile(model, compute, scope, work, manifest, getattr(settings, "max_position_embeddings", None))


def _pair_seconds(inventory: Inventory, work: Workload, active: frozenset[int]) -> float:
    """Modelled seconds of one forward pair (P = K = 1); nothing is measured.

    A forward pass takes 2 FLOP per block parameter and token; the head costs nothing. Blocks before the first active
    one run once, all others twice. Each block that is not resident is copied from the host once; with masters on the
    host, so are the copies of active blocks. Computing and copying overlap fully, so the longer one counts. θ is read
    and scratch is written once per sign. Not included: work of the host, network, and the product inside the attention,
    2·B·T²·H per layer.
    """
    manifest, tokens = inventory.manifest, work.batch_size * work.length
    compute = sum(
        2 * tensor.numel * tokens * (1 if block < min(active) else 2)
        for block in inventory.blocks
        for tensor in manifest.by_block[block]
    )
    streamed = inventory.streamed(active)
    if inventory.resident and inventory.placement.master == "host":
        streamed += sum(inventory.moved(block) for block in active)
    drawn = sum(2 * 2 * inventory.moved(block) for block in active)
    return max(compute / FLOPS, streamed / LINK) + drawn / MEMORY


def _plain_seconds(manifest: Manifest, size: int, work: Workload, step: LocalStep) -> float:
    """As `_pair_seconds`, for one local step with everything on the accelerator.

    Backpropagation takes as long as three forward passes; with adapters two, because frozen weights need no gradients.
    The optimizer reads and writes the weights that it moves. A zeroth-order step takes two forward passes, and four
    passes that read and write all weights. A pass over adapters costs almost nothing.
    """
    inside = sum(tensor.numel for block in range(manifest.blocks) for tensor in manifest.by_block[block])
    forwards = (2 if step.rank else 3) if step.backward else 2
    passes = 0 if step.rank else 2 if step.backward else 4 * 2
    tokens = work.batch_size * work.length
    return forwards * 2 * inside * tokens / FLOPS + passes * size * manifest.numel / MEMORY
