"""The modelled time of a round, by hand: two blocks of attn 64×64 with a bias, mlp 128×64 and a norm, in bf16.

15 tokens; block 0 active, block 1 behind it, so that both run twice: 2·2·12,416·15·2 = 1,489,920 FLOP. Over the link
goes block 0 in bf16, 25,088 bytes, and block 1: as many, or 6,976 in nf4. θ of block 0 is read and scratch written once
per sign, 4·25,088; 12,288 values of block 1 are packed by the host and unpacked once: 2,176 + 4,288 bytes read, 24,576
written.
"""

from dataclasses import replace

import pytest

from zorba_ray.config import LocalStep
from zorba_ray.directions import EMBEDDINGS
from zorba_ray.memory import Workload
from zorba_ray.memory.inventory import Inventory
from zorba_ray.memory.round_time import PACKING, Speeds, pair_seconds, plain_seconds
from zorba_ray.models import Manifest, Placement
from zorba_ray.models.manifest import build_manifest

WORK = Workload(batch_size=3, length=5, hidden=64, logits=2, positions=1)
FAST = Speeds(flops=1e30, link=1e30, memory=1e30, cores=10**9)
FIRST = frozenset({0})


def manifest() -> Manifest:
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (100, 64)}
    homes = {"embed.weight": EMBEDDINGS}
    for block in (0, 1):
        own = {"attn.weight": (64, 64), "attn.bias": (64,), "mlp.weight": (128, 64), "norm.weight": (64,)}
        shapes |= {f"h.{block}.{name}": shape for name, shape in own.items()}
        homes |= {f"h.{block}.{name}": block for name in own}
    return build_manifest(shapes, homes, 2)


def seconds(placement: Placement, active: frozenset[int] = FIRST, resident: bool = True, **speeds: float) -> float:
    inventory = Inventory(manifest(), placement, "all", 2, resident)
    return pair_seconds(inventory, WORK, active, replace(FAST, **speeds))  # type: ignore[arg-type]


def test_computing() -> None:
    assert seconds(Placement(), flops=1) == pytest.approx(1_489_920)
    assert seconds(Placement(), frozenset({1}), flops=1) == pytest.approx(0.75 * 1_489_920), "block 0 runs once"


@pytest.mark.parametrize("frozen", ["device", "host"])
def test_every_block_is_copied_after_a_commit_resident_or_not(frozen: str) -> None:
    """But for a block with its master on the accelerator, to which commits are applied there."""
    for placement, size in (
        (Placement(frozen, "host"), 50176),  # type: ignore[arg-type]
        (Placement(frozen, "device"), 25088),  # type: ignore[arg-type]
        (Placement(frozen, "host", "nf4"), 25088 + 6976),  # type: ignore[arg-type]
    ):
        assert seconds(placement, link=1) == pytest.approx(size)
    assert seconds(Placement("host", "host"), frozenset({0, 1}), resident=False, link=1) == pytest.approx(50176)


def test_packing_and_unpacking() -> None:
    nf4 = Placement("device", "host", "nf4")
    assert seconds(nf4, cores=1) == pytest.approx(12288 * PACKING["nf4"])
    assert seconds(nf4, memory=1) == pytest.approx(4 * 25088 + 2176 + 4288 + 24576)
    assert seconds(nf4, frozenset({0, 1}), cores=1) == pytest.approx(0, abs=1e-12)


def test_the_longest_counts() -> None:
    assert seconds(Placement("device", "host"), flops=1, link=1) == pytest.approx(1_489_920)


def test_a_packed_base_is_unpacked_in_every_pass_and_never_packed_anew() -> None:
    inventory = Inventory(manifest(), Placement(), "all", 2)
    step, own = LocalStep(backward=True, rank=4, base_format="nf4"), 2 * (2176 + 4288 + 24576)
    for checkpoint, passes in ((False, 2), (True, 3)):
        found = plain_seconds(inventory, WORK, replace(step, checkpoint=checkpoint), replace(FAST, memory=1))
        assert found == pytest.approx(passes * own)
        found = plain_seconds(inventory, WORK, replace(step, checkpoint=checkpoint), replace(FAST, flops=1))
        assert found == pytest.approx(passes * 2 * 2 * 12416 * 15)
