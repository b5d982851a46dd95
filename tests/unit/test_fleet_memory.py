"""Where `auto` lets a client's blocks live, rule by rule, and the error of a client over its budget."""

from typing import Any, get_args

import numpy as np
import pytest

from tests.support.tiny_models import BLOCKS, tiny_loaded
from zorba_ray.config import MemoryConfig, config_from_tree
from zorba_ray.errors import BudgetExceeded, ConfigError
from zorba_ray.formats import Format
from zorba_ray.memory import ClientMemory, FleetMemory, Workload, client_memory, placed_by_budget, require_within
from zorba_ray.models import RESIDENT, STREAMED, Manifest, Placement, Replica

WORK = Workload(batch_size=8, length=16, hidden=32, logits=3, positions=1)
TOKENS = 2 * 8 * 16
ALL = frozenset(range(BLOCKS))
COPIES = Placement("device", "host")
"""Everything resident, active blocks as copies."""
MASTERS = Placement("host", "device")
"""Frozen blocks streamed, active ones as fp32 masters."""


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Replica(tiny_loaded("opt")).manifest


def fleet(manifest: Manifest, **settings: Any) -> FleetMemory:
    config = MemoryConfig.model_validate({"frozen": "auto", "master": "auto", **settings})
    return placed_by_budget(manifest, config, "all", WORK)


def bytes_at(manifest: Manifest, own: Placement) -> ClientMemory:
    config = MemoryConfig(frozen=own.frozen, master=own.master, frozen_format=own.format)
    return client_memory(manifest, config, "all", WORK)


def test_without_a_budget_everything_is_resident(manifest: Manifest) -> None:
    assert fleet(manifest).placement(None) == RESIDENT
    assert fleet(manifest, frozen="host").placement(None) == MASTERS


def test_what_fits_whole_stays_resident_to_the_byte(manifest: Manifest) -> None:
    """All blocks active: with masters, else as copies, else not at all."""
    masters, copies = (bytes_at(manifest, own).bytes_of(ALL) for own in (RESIDENT, COPIES))
    assert copies < masters
    slow = fleet(manifest, flops_per_s=TOKENS, host_bytes_per_s=1)
    assert slow.placement(masters) == RESIDENT
    assert slow.placement(masters - 1) == COPIES
    assert slow.placement(copies) == COPIES
    assert slow.placement(copies - 1) == STREAMED


def test_below_the_break_even_a_client_stays_resident_while_one_block_fits(manifest: Manifest) -> None:
    """What streams would wait for the link: fewer active blocks rather than that. With masters fixed to the device; as
    copies all blocks fit where one master does."""
    resident = bytes_at(manifest, RESIDENT)
    one = resident.base + int(resident.active_extra.min())
    quick, hidden = (fleet(manifest, master="device", flops_per_s=TOKENS + more, host_bytes_per_s=1) for more in (1, 0))
    assert quick.placement(one) == RESIDENT
    assert quick.placement(one - 1) == MASTERS
    assert hidden.placement(one) == MASTERS


def test_a_fixed_part_is_kept(manifest: Manifest) -> None:
    whole = bytes_at(manifest, MASTERS).bytes_of(ALL)
    assert fleet(manifest, frozen="host").placement(whole) == MASTERS
    assert fleet(manifest, frozen="host").placement(whole - 1) == STREAMED
    assert fleet(manifest, frozen="device").placement(1) == RESIDENT, (
        "too small for any: the allocation says by how much"
    )
    fixed = fleet(manifest, frozen="host", master="host")
    assert not fixed.chooses
    assert fixed.placement(None) == fixed.placement(1) == STREAMED


PACKED = {format: Placement("device", "host", format) for format in get_args(Format)}
"""Everything resident, active blocks as copies."""


def with_share(manifest: Manifest, share: int, **settings: Any) -> FleetMemory:
    config = MemoryConfig.model_validate({"frozen_format": "auto", "master": "host", **settings})
    return placed_by_budget(manifest, config, "all", WORK, share=share)


def test_the_finest_format_that_gives_a_client_its_share(manifest: Manifest) -> None:
    """Resident: every block fits as a copy, or as many as the share with the others in int8, then in nf4."""
    fleet, memories = with_share(manifest, 3), {name: bytes_at(manifest, own) for name, own in PACKED.items()}
    assert fleet.placement(None) == PACKED["compute"]
    whole = memories["compute"].bytes_of(ALL)
    assert fleet.placement(whole) == PACKED["compute"]
    assert fleet.placement(whole - 1) == PACKED["int8"]
    for format, less in (("int8", "nf4"), ("nf4", "nf4")):
        least = memories[format].bytes_of(frozenset({0, 1, 2}))
        assert fleet.placement(least) == PACKED[format]
        assert fleet.placement(least - 1) == PACKED[less]
    assert fleet.room(least, PACKED["nf4"]) == 3 > fleet.room(least - 1, PACKED["nf4"])
    assert fleet.room(memories["nf4"].base - 1, PACKED["nf4"]) == 0


def test_packed_rather_than_streamed_where_the_copies_are_not_hidden(manifest: Manifest) -> None:
    """With the room for the share in nf4 it stays resident; below it streams, in the finest format that gives it."""
    slow, hidden = (
        with_share(manifest, 2, frozen="auto", flops_per_s=TOKENS + more, host_bytes_per_s=1) for more in (10**6, 0)
    )
    least = bytes_at(manifest, PACKED["nf4"]).bytes_of(frozenset({0, 1}))
    assert slow.placement(least) == PACKED["nf4"]
    assert slow.placement(least - 1).frozen == "host"
    enough = bytes_at(manifest, STREAMED).bytes_of(frozenset({0, 1}))
    assert hidden.placement(enough) == STREAMED
    assert slow.placement(enough).frozen == "device"


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("mezo", ["memory.frozen_format=nf4"], r"memory\.frozen_format=nf4.*method=mezo.*method=fedit"),
        ("fedavg", ["memory.stem_format=int8"], r"memory\.stem_format=int8.*method=fedavg"),
        ("fedit", ["memory.frozen_format=auto"], r"memory\.frozen_format=auto.*method=fedit.*int8 or nf4"),
    ],
)
def test_a_method_that_cannot_take_a_format_says_so(method: str, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_tree({"method": method, "memory": dict(text.split(".")[1].split("=") for text in settings)}, "test")


@pytest.mark.parametrize("method", ["fedit", "fedmezo"])
def test_methods_of_adapters_take_a_packed_base(method: str) -> None:
    config_from_tree({"method": method, "memory": {"frozen_format": "nf4", "stem_format": "int8"}}, "test")


def test_bytes_are_those_of_the_placement(manifest: Manifest) -> None:
    auto = fleet(manifest, flops_per_s=1, host_bytes_per_s=1)
    for budget in (None, 10**9, bytes_at(manifest, STREAMED).base):
        wanted = bytes_at(manifest, auto.placement(budget))
        assert auto.of(budget).parts == wanted.parts
        assert np.array_equal(auto.of(budget).active_extra, wanted.active_extra)


def test_a_client_over_its_budget_is_named_with_bytes_and_part(manifest: Manifest) -> None:
    memory = bytes_at(manifest, RESIDENT)
    held = memory.bytes_of(frozenset({1, 2}))
    require_within("client 3 (class small)", held, memory, frozenset({1, 2}))
    require_within("client 3 (class small)", None, memory, ALL)
    with pytest.raises(BudgetExceeded) as caught:
        require_within("client 3 (class small)", held - 7, memory, frozenset({1, 2}))
    message = str(caught.value)
    for piece in (
        "client 3 (class small)",
        f"{held:,} bytes (modelled)",
        "[1, 2]",
        "7 over its budget",
        f"{held - 7:,}",
    ):
        assert piece in message
    part = max({**memory.parts, "active blocks": held - memory.base}.items(), key=lambda own: own[1])[0]
    assert f"the largest part is {part}" in message
