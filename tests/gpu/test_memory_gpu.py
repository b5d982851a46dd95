"""The count against the peak of torch's CUDA allocator. Skips without a device."""

import pytest
import torch

from zorba_ray.config import ModelConfig
from zorba_ray.memory.count import Client, counted
from zorba_ray.memory.measure import measured
from zorba_ray.memory.method import METHODS, Method
from zorba_ray.memory.policy import POLICIES
from zorba_ray.memory.table import model_profile

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_count_is_within_five_percent_of_the_peak(method: Method) -> None:
    model = ModelConfig(path="opt-125m")
    work = model_profile(model, "bf16", "all", 16, 128, 2).work
    client = Client(method, POLICIES[3], frozenset({0, 4, 8}))
    peak, context = measured(model, "bf16", work, client)
    assert peak.source == "measured"
    assert abs(counted(model, "bf16", work, client).total / peak.total - 1) < 0.05
    assert context > 0
