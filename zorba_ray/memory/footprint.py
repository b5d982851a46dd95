"""Bytes by part at one moment, with where the numbers are from."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["modelled", "counted", "measured"]
"""From the formula; from every live tensor of a run in which nothing is allocated; from a GPU's allocator."""

PARTS = (
    "stem",
    "frozen",
    "active",
    "scratch",
    "stream buffers",
    "activations",
    "logits",
    "gradients",
    "optimizer state",
)
"""What a client's accelerator holds. `active`: what is trained or perturbed (adapters of LoRA too). `scratch`: what a
perturbation is made in. The CUDA context is beside all of this."""


@dataclass(frozen=True)
class Footprint:
    """What a client holds at its peak."""

    parts: dict[str, int]
    """Part -> bytes; the parts that are held at the moment of the largest sum."""
    source: Source

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


def footprint(source: Source, **parts: int) -> Footprint:
    """Parts by name, `_` for a blank, in the order of `PARTS`; a part of zero bytes is kept."""
    named = {name.replace("_", " "): size for name, size in parts.items()}
    assert named.keys() <= set(PARTS), named
    return Footprint({name: named.get(name, 0) for name in PARTS}, source)
