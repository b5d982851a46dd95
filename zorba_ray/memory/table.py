"""The memory table of a model: every method, in every placement that a user would choose, at equal batch and length."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, get_args

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zorba_ray.config import DEFAULT_METHOD, ModelConfig, load_method, method_names
from zorba_ray.config.memory import StemFormat
from zorba_ray.formats import Format
from zorba_ray.memory.activations import Workload, workload_of
from zorba_ray.memory.count import ClientStep, counted
from zorba_ray.memory.footprint import Footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory, zorba_footprint
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.memory.round_time import pair_seconds, plain_seconds
from zorba_ray.models import RESIDENT, STREAMED, Manifest, Placement, Scope
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.shapes import skeleton

FRACTIONS = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1))


@dataclass(frozen=True)
class ProfiledClient:
    """The client of a row: its method and step."""

    method: str
    label: str
    step: ClientStep
    fraction: Fraction | None = None
    """Share of active blocks; None for a method without active blocks."""


@dataclass(frozen=True)
class MemoryRow:
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
    stem_format: StemFormat = "compute"
    """Of the stem, with methods that can take one."""

    def facts(self) -> dict[str, Any]:
        """The arguments of the profile, for JSON."""
        return {
            "parameters": self.manifest.numel,
            "blocks": self.manifest.blocks,
            "compute_dtype": self.compute,
            "scope": self.scope,
            "stem_format": self.stem_format,
            "batch_size": self.work.batch_size,
            "length": self.work.length,
            "logits": self.work.logits,
        }

    def rows(self) -> Iterator[MemoryRow]:
        """The rows, one after another. Counting, where there is no formula, takes seconds."""
        for client in clients(self.manifest.blocks, self.scope, FRACTIONS, self.stem_format):
            yield self.row(client)

    def row(self, client: ProfiledClient, count: bool = False) -> MemoryRow:
        """The row of one client. `count`: count also if there is a formula."""
        step, modelled = client.step, None
        if isinstance(step, PairedStep):
            size = COMPUTE_BYTES[self.compute]
            inventory = Inventory(self.manifest, step.placement, step.scope, size, step.resident, step.stem_format)
            modelled = zorba_footprint(inventory, self.work, step.active)
            seconds = pair_seconds(inventory, self.work, step.active)
        else:
            inventory = Inventory(self.manifest, RESIDENT, self.scope, COMPUTE_BYTES[self.compute])
            seconds = plain_seconds(inventory, self.work, step)
        live = counted(self.model, self.compute, self.work, step) if count or modelled is None else None
        return MemoryRow(client, modelled, live, seconds)


USUAL_PLACEMENTS = (
    RESIDENT,
    *(Placement("device", "host", format) for format in get_args(Format)),
    *(Placement("host", "host", format) for format in get_args(Format)),
)
"""Where blocks are kept, as a user would choose. Masters on the accelerator copy less and hold more, so of these there
is one."""


def clients(
    blocks: int, scope: Scope, fractions: Sequence[Fraction], stem_format: StemFormat = "compute"
) -> Iterator[ProfiledClient]:
    """The clients of all methods. Zorba has one per placement and share of active blocks; other methods one per choice
    that their authors or a user would make: the format of a frozen base, and activation checkpointing.

    Active blocks are spread evenly, from the first block on. This takes the most activations, because frozen blocks
    after an active one run on both signs at once.
    """
    for placement, resident in (*((placement, True) for placement in USUAL_PLACEMENTS), (STREAMED, False)):
        for fraction in fractions if resident else fractions[-1:]:
            active = spread_evenly(max(1, round(fraction * blocks)), blocks)
            step = PairedStep(placement, active, scope, resident, stem_format)
            yield ProfiledClient(DEFAULT_METHOD, step.label, step, fraction)
    for name in method_names():
        for label, published in load_method(name).profiles.items():
            for format, checkpointed in itertools.product(get_args(Format), (False, True)):
                if (published.rank or format == "compute") and (published.backward or not checkpointed):
                    base = "" if format == "compute" else f", {format}"
                    stem: StemFormat = stem_format if published.rank else "compute"
                    step = replace(published, checkpoint=checkpointed, base_format=format, stem_format=stem)
                    yield ProfiledClient(name, label + base + (", checkpointed" if checkpointed else ""), step)


def spread_evenly(number: int, blocks: int) -> frozenset[int]:
    """`number` of the blocks, from the first one on."""
    return frozenset(index * blocks // number for index in range(number))


def model_profile(
    model: ModelConfig,
    compute: str,
    scope: Scope,
    batch_size: int,
    length: int,
    labels: int | None,
    stem_format: StemFormat = "compute",
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
    positions = getattr(settings, "max_position_embeddings", None)
    return ModelProfile(model, compute, scope, work, manifest, positions, stem_format)
