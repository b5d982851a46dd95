"""What a client's accelerator holds (algorithm.md §6). The model is ours, not the paper's."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel


class MemoryConfig(StrictModel):
    """Memory policy of the accelerator. On a simulated one blocks live and move as said here, in fp32 on a CPU."""

    compute_dtype: Literal["bf16", "fp32"] = "bf16"
    """dtype of the weights that compute on a real or modelled accelerator; 1-D tensors are fp32 everywhere."""
    frozen: Literal["device", "host", "auto"] = "device"
    """Where frozen blocks live: a compute-dtype copy on the accelerator, or streamed from the host through two buffers
    of one block; auto: per client, by its budget."""
    master: Literal["device", "host", "auto"] = "device"
    """Where the fp32 master of active blocks lives; with host the accelerator holds a compute-dtype copy, refreshed
    once per round. auto: per client, by its budget."""
    flops_per_s: float = Field(default=1.4e14, gt=0)
    """FLOP per second of the modelled accelerator, for f3 and for auto. The default is an RTX 4090's."""
    host_bytes_per_s: float = Field(default=2.5e10, gt=0)
    """Bytes per second from host to accelerator, for f3 and for auto where blocks are streamed."""

    @property
    def break_even_tokens(self) -> float:
        """Tokens of a forward pair (both signs) from which copying a block in bf16 takes no longer than computing
        another one: FLOP/s over bytes/s of the link. An RTX 4090 has 5,600, an RTX 3090 2,400, an H200 24,000."""
        return self.flops_per_s / self.host_bytes_per_s
