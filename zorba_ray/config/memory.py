"""What a client's accelerator holds (algorithm.md §6). The model is ours, not the paper's."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel


class MemoryConfig(StrictModel):
    """Memory policy of the modelled accelerator; the simulation itself computes in fp32 on a CPU."""

    compute_dtype: Literal["bf16", "fp32"] = "bf16"
    """dtype of the weights that compute on the modelled accelerator; 1-D tensors are fp32 everywhere."""
    frozen: Literal["device", "host"] = "device"
    """Where frozen blocks live: a compute-dtype copy on the accelerator, or streamed from the host."""
    master: Literal["device", "host"] = "device"
    """Where the fp32 master of active blocks lives."""
    batch_size: int | None = Field(default=None, ge=1)
    """Batch for the activation term; None is data.batch_size."""
    length: int | None = Field(default=None, ge=1)
    """Tokens for the activation term; None is data.max_length."""
