"""Rules, limits and speeds of the settings become arrays of the allocation problem."""

from typing import Any, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from zorba_ray.assignment.rules import rules
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError
from zorba_ray.models import Placement
from zorba_ray.models.manifest import build_manifest

KINDS = ["small", "small", "large"]
# Block 0: a matrix of 6 numbers and a bias of 3; block 1: a matrix of 20.
MANIFEST = build_manifest({"a": (2, 3), "b": (3,), "c": (4, 5)}, {"a": 0, "b": 0, "c": 1}, 2)


def made(frozen: Literal["device", "host"] = "host", **allocation: Any) -> dict[str, Any]:
    memory = {"frozen": frozen, "flops_per_s": 100.0, "host_bytes_per_s": 8.0}
    settings = {"allocation": allocation, "memory": memory, "data": {"batch_size": 2, "max_length": 5}}
    return rules(ExperimentConfig.model_validate(settings), KINDS, MANIFEST, [Placement(frozen)] * len(KINDS))


def test_nothing_asked_for_is_nothing_prescribed():
    found = made()
    assert found["max_blocks"] is None
    assert not found.keys() & {"min_blocks", "must_hold", "must_not_hold"}
    assert found["block_seconds"].strides[0] == 0  # one row for all clients


def test_rules_by_class_and_by_client():
    found = made(
        rules=[
            {"kind": "small", "require": [1]},
            {"clients": [2], "require": [0, 1]},
            {"clients": [0, 1], "forbid": [0]},
        ]
    )
    assert found["must_hold"].tolist() == [[False, True], [False, True], [True, True]]
    assert found["must_not_hold"].tolist() == [[True, False], [True, False], [False, False]]


def test_limits_replace_the_general_ones_and_later_ones_win():
    found = made(
        max_blocks=1,
        rules=[{"kind": "small", "max_blocks": 2}, {"clients": [1, 2], "min_blocks": 2, "max_blocks": 2}],
    )
    assert found["min_blocks"].tolist() == [1, 2, 2]
    assert found["max_blocks"].tolist() == [2, 2, 2]


def test_times_by_hand():
    """Ten tokens: 2 · 9 · 10 and 2 · 20 · 10 FLOP; bf16 matrices and an fp32 bias: 6 · 2 + 3 · 4 and 20 · 2 bytes."""
    found = made(rules=[{"kind": "large", "speed": 2.0}])
    np.testing.assert_allclose(found["block_seconds"], [[1.8, 4.0], [1.8, 4.0], [0.9, 2.0]])
    np.testing.assert_allclose(found["stream_seconds"], [[3.0, 5.0], [3.0, 5.0], [1.5, 2.5]])
    assert made("device")["stream_seconds"] is None  # frozen blocks stay on the accelerator


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "tiny", "require": [0]}, ["allocation.rules[0].kind", "'tiny'", "large", "small"]),
        ({"clients": [1, 3], "forbid": [0]}, ["allocation.rules[0].clients", "[3]", "0 to 2"]),
        ({"clients": [1], "require": [2]}, ["allocation.rules[0].require", "[2]", "0 to 1"]),
        ({"clients": [1], "forbid": [-1]}, ["allocation.rules[0].forbid", "[-1]", "0 to 1"]),
    ],
)
def test_what_does_not_exist_is_named(rule: dict[str, Any], words: list[str]):
    with pytest.raises(ConfigError) as caught:
        made(rules=[rule])
    for word in words:
        assert word in str(caught.value)


def test_a_rule_about_nobody_in_particular_is_about_all():
    found = made(max_blocks=2, rules=[{"min_blocks": 2}, {"clients": [0], "min_blocks": 1}])
    assert found["min_blocks"].tolist() == [1, 2, 2]
    assert found["max_blocks"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("rule", [{"kind": "small", "clients": [0]}, {"clients": [-1]}, {"clients": []}])
def test_a_rule_is_about_one_class_or_a_list_of_clients(rule: dict[str, Any]):
    with pytest.raises(ValidationError, match="clients"):
        made(rules=[rule])


def test_packed_blocks_stream_as_many_bytes_as_their_slabs():
    """int8: 64 bytes for the scales and 64 for the codes of each matrix. A resident client streams nothing."""
    settings = ExperimentConfig.model_validate({"memory": {"frozen": "host", "host_bytes_per_s": 8.0}})
    placements = [Placement("host", "host", "int8"), Placement("host", "host"), Placement()]
    found = rules(settings, KINDS, MANIFEST, placements)
    np.testing.assert_allclose(found["stream_seconds"], [[(128 + 12) / 8, 16.0], [3.0, 5.0], [0.0, 0.0]])
