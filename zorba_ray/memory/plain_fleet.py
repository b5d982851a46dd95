"""What a client of another method than zorba holds, as the fleet's memory is asked for it."""

import numpy as np

from zorba_ray.memory.footprint import Footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES, ClientMemory
from zorba_ray.memory.method import Method
from zorba_ray.memory.plain_inventory import plain_footprint
from zorba_ray.memory.workload import Workload
from zorba_ray.models import RESIDENT, Manifest, Placement


class PlainFleetMemory:
    """`FleetMemory` of a method that holds every block: all clients alike, whatever their budget."""

    chooses = False

    def __init__(self, manifest: Manifest, compute: str, work: Workload, method: Method) -> None:
        """`manifest`: with or without adapters; `method.rank` says which there are."""
        plain = Manifest(tuple(t for t in manifest.tensors if not t.in_scope("lora")), manifest.blocks)
        found: Footprint = plain_footprint(plain, compute, work, method)
        size = COMPUTE_BYTES[compute]
        blocks = np.array([size * sum(t.numel for t in plain.by_block[b]) for b in range(plain.blocks)], dtype=np.int64)
        held = "frozen" if method.rank else "active"
        parts = found.parts | {held: found.parts[held] - int(blocks.sum())}
        self._memory = ClientMemory(parts, blocks)

    def placement(self, budget: int | None) -> Placement:
        """Everything is on the accelerator."""
        return RESIDENT

    def of(self, budget: int | None) -> ClientMemory:
        """A block's extra is its weights: with all of them the sum is the method's footprint."""
        return self._memory
