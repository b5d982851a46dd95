"""What a pair of forward passes computes: blocks before the first active one once, the others in every pass."""

import pytest
from torch import nn

from tests.support.tiny_models import tiny_batch, tiny_task_model
from zorba_ray.models import Perturbation


@pytest.mark.parametrize("active", [{0}, {2}, {1, 3}, {4}])
def test_blocks_before_the_first_active_one_run_once(active: set[int]) -> None:
    """Rows that go through the linear layers of five blocks, prefix and three pairs, over those of a full pass."""
    rows, pairs = 4, 3
    model, batch = tiny_task_model("llama"), tiny_batch("llama", rows, 6)
    passed: list[int] = []
    layers = [layer for block in model.loaded.blocks for layer in block.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(lambda layer, given, output: passed.append(len(output)))
    prepared = model.prepare(batch, frozenset(active))
    for direction in range(pairs):
        model.pair(prepared, Perturbation(1, direction, 1e-3, "rademacher"))
    first = min(active)
    assert sum(passed) / (rows * len(layers)) == (first + 2 * pairs * (5 - first)) / 5
