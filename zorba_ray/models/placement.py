"""Where a process keeps θ, and where a client's blocks are on its accelerator."""

from dataclasses import dataclass
from typing import Literal

import torch

from zorba_ray.formats import Format


@dataclass(frozen=True)
class Placement:
    """Where a client's blocks are kept: `memory.frozen`, `memory.master` and `memory.frozen_format`, without `auto`."""

    frozen: Literal["device", "host"] = "device"
    master: Literal["device", "host"] = "device"
    format: Format = "compute"
    """How the matrices of frozen blocks are kept, wherever they are."""


RESIDENT = Placement()
STREAMED = Placement("host", "host")


@dataclass(frozen=True)
class HostStore:
    """Settings of offloading: θ is in host memory, and the accelerator has tensors by a client's placement."""

    dtype: torch.dtype = torch.float32
    """Compute dtype of matrices."""
    apart: bool = False
    """Whether the accelerator has its own memory, so that no tensor has the form `home`. Needed with a 16-bit dtype or
    on a GPU."""
    packs: bool = False
    """Whether frozen matrices of some client are packed."""
    stem_format: Format = "compute"
    """How the accelerator keeps the matrices outside the blocks: compute or int8."""
