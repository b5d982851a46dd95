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
    break_even_tokens: int = Field(default=5_600, ge=1)
    """Tokens of a forward pair (both signs) from which copying a block takes no longer than computing another one, for
    auto: FLOP/s over bytes/s of the link in bf16. 5,600 is an RTX 4090 (140 TFLOP/s, 25 GB/s); an RTX 3090 has 2,400,
    an H200 24,000."""
    batch_size: int | None = Field(default=None, ge=1)
    """Batch for the activation term; None is data.batch_size."""
    length: int | None = Field(default=None, ge=1)
    """Tokens for the activation term; None is data.max_length."""
