"""Rules, limits and speeds of the settings become arrays of the allocation problem."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from zorba_ray.assignment.rules import rules
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError
from zorba_ray.models.manifest import build_manifest

KINDS = ["small", "small", "large"]
# Block 0: a matrix of 6 numbers and a bias of 3; block 1: a matrix of 20.
MANIFEST = build_manifest({"a": (2, 3), "b": (3,), "c": (4, 5)}, {"a": 0, "b": 0, "c": 1}, 2)


def made(frozen: str = "host", **allocation: Any) -> dict[str, Any]:
    settings = {"allocation": allocation, "memory": {"frozen": frozen, "batch_size": 2, "length": 5}}
    streamed = np.array([frozen == "host"] * len(KINDS))
    return rules(ExperimentConfig.model_validate(settings), KINDS, MANIFEST, streamed)


def test_nothing_asked_for_is_nothing_prescribed():
    found = made()
    assert (found["min_blocks"], found["max_blocks"]) == (1, None)
    assert found["must_hold"] is None
    assert found["must_not_hold"] is None
    assert found["block_seconds"].strides[0] == 0  # one row for all clients


def test_rules_by_class_and_by_client():
    found = made(
        require=[{"kind": "small", "blocks": [1]}, {"clients": [2], "blocks": [0, 1]}],
        forbid=[{"clients": [0, 1], "blocks": [0]}],
    )
    assert found["must_hold"].tolist() == [[False, True], [False, True], [True, True]]
    assert found["must_not_hold"].tolist() == [[True, False], [True, False], [False, False]]


def test_limits_replace_the_general_ones_and_later_ones_win():
    found = made(
        min_blocks=1,
        max_blocks=1,
        limits=[{"kind": "small", "max_blocks": 2}, {"clients": [1, 2], "min_blocks": 2, "max_blocks": 2}],
    )
    assert found["min_blocks"].tolist() == [1, 2, 2]
    assert found["max_blocks"].tolist() == [2, 2, 2]


def test_times_by_hand():
    """Ten tokens: 2 · 9 · 10 and 2 · 20 · 10 FLOP; bf16 matrices and an fp32 bias: 6 · 2 + 3 · 4 and 20 · 2 bytes."""
    found = made(flops_per_s=100.0, host_bytes_per_s=8.0, speeds=[{"kind": "large", "times": 2.0}])
    np.testing.assert_allclose(found["block_seconds"], [[1.8, 4.0], [1.8, 4.0], [0.9, 2.0]])
    np.testing.assert_allclose(found["stream_seconds"], [[3.0, 5.0], [3.0, 5.0], [1.5, 2.5]])
    assert made("device")["stream_seconds"] is None  # frozen blocks stay on the accelerator


@pytest.mark.parametrize(
    ("allocation", "words"),
    [
        ({"require": [{"kind": "tiny", "blocks": [0]}]}, ["allocation.require[0].kind", "'tiny'", "large", "small"]),
        ({"forbid": [{"clients": [1, 3], "blocks": [0]}]}, ["allocation.forbid[0].clients", "[3]", "0 to 2"]),
        ({"require": [{"clients": [1], "blocks": [2]}]}, ["allocation.require[0].blocks", "[2]", "0 to 1"]),
        ({"limits": [{"kind": "none", "max_blocks": 1}]}, ["allocation.limits[0].kind", "'none'"]),
    ],
)
def test_what_does_not_exist_is_named(allocation: dict[str, Any], words: list[str]):
    with pytest.raises(ConfigError) as caught:
        made(**allocation)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "entry", [{"blocks": [0]}, {"kind": "small", "clients": [0], "blocks": [0]}, {"clients": [-1], "blocks": [0]}]
)
def test_a_rule_is_about_one_class_or_a_list_of_clients(entry: dict[str, Any]):
    with pytest.raises(ValidationError, match="clients"):
        made(require=[entry])
