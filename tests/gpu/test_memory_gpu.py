"""The count against the peak of torch's CUDA allocator over the same step. Skips without a device."""

import gc
from fractions import Fraction

import pytest
import torch

from zorba_ray.config import ModelConfig
from zorba_ray.memory.count import DTYPES, counted, prepared
from zorba_ray.memory.storage_counter import StorageCounter
from zorba_ray.memory.table import ProfiledClient, clients, model_profile
from zorba_ray.models.shapes import skeleton

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("client", list(clients(12, "all", (Fraction(1, 4),))), ids=lambda client: client.label)
def test_the_count_is_within_five_percent_of_the_peak(client: ProfiledClient) -> None:
    model = ModelConfig(path="opt-125m")
    work = model_profile(model, "bf16", "all", 16, 128, 2).work
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    with torch.device("cuda"), StorageCounter() as counter:
        step = prepared(skeleton(model, DTYPES["bf16"]), work, client.step, counter, "cuda")
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    assert abs(counted(model, "bf16", work, client.step).total / peak - 1) < 0.05
