"""What a client holds, measured on a CUDA device: the same step as `count` runs, with real tensors."""

import gc

import torch

from zorba_ray.config import ModelConfig
from zorba_ray.errors import ClusterError
from zorba_ray.memory.count import DTYPES, Client, prepared
from zorba_ray.memory.footprint import Footprint
from zorba_ray.memory.storage_counter import StorageCounter
from zorba_ray.memory.workload import Workload
from zorba_ray.models.shapes import skeleton


def measured(model: ModelConfig, dtype: str, work: Workload, client: Client) -> tuple[Footprint, int]:
    """Peak of torch.cuda's allocator over two steps, as one part named `all`; and the bytes of the CUDA context, which
    are beside it: what the device has given out but torch's allocator does not hold (other processes included).

    Raises:
        ClusterError: no CUDA device.
        ModelError: as `skeleton`.
    """
    if not torch.cuda.is_available():
        raise ClusterError("no CUDA device on this machine: memory can be modelled and counted here, not measured")
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    with torch.device("cuda"), StorageCounter() as counter:
        step = prepared(skeleton(model, DTYPES[dtype]), work, client, counter, "cuda")
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    peak = torch.cuda.max_memory_allocated() - before
    return Footprint({"all": peak}, "measured"), total - free - torch.cuda.memory_reserved()
