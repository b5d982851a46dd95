"""Settings of a client's accelerator memory (algorithm.md §6). This memory model is ours, not the paper's."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel

Format = Literal["compute", "int8", "nf4"]
"""How a frozen matrix is kept: `compute` is the compute dtype itself, the other two are packed."""
StemFormat = Literal["compute", "int8"]


class MemoryConfig(StrictModel):
    """Where the weights are kept. A simulated accelerator follows the same rules, in fp32 on the CPU."""

    compute_dtype: Literal["bf16", "fp32"] = "bf16"
    """dtype of the weights in computations on a real or modelled accelerator. Tensors with one axis are always fp32."""
    frozen: Literal["device", "host", "auto"] = "device"
    """Where frozen blocks are kept. `device`: a copy in the compute dtype on the accelerator. `host`: in host memory,
    copied to the accelerator through two buffers of one block each. `auto`: chosen per client, by its budget."""
    master: Literal["device", "host", "auto"] = "device"
    """Where the fp32 weights (masters) of active blocks are kept. `device`: on the accelerator. `host`: in host memory,
    and the accelerator has a copy in the compute dtype, renewed once per round. `auto`: per client, by its budget."""
    frozen_format: Literal["compute", "int8", "nf4", "auto"] = "compute"
    """How the matrices of frozen blocks are kept, on the accelerator or on the way to it. `compute`: in the compute
    dtype. `int8`: one byte per value and a scale per row. `nf4`: four bits per value, with scales per 64 values. Active
    blocks are perturbed, so their tensors in scope are never packed; the others are. `auto`: per client, the finest
    format with which its budget allows its share of blocks."""
    stem_format: StemFormat = "compute"
    """How the matrices outside the blocks (embeddings, head) are kept, which nobody perturbs."""
    flops_per_s: float = Field(default=1.4e14, gt=0)
    """FLOP per second of the modelled accelerator, used for round times (f3) and for `auto`. The default is that of an
    RTX 4090."""
    host_bytes_per_s: float = Field(default=2.5e10, gt=0)
    """Bytes per second from host to accelerator, used for round times (f3) and for `auto`."""

    @property
    def break_even_tokens(self) -> float:
        """Tokens of a forward pair (both signs) from which copying a block in bf16 is hidden behind the computation of
        another block: flops_per_s / host_bytes_per_s. It is 5,600 on an RTX 4090, 2,400 on an RTX 3090 and 24,000 on an
        H200."""
        return self.flops_per_s / self.host_bytes_per_s
