"""The allocation in a terminal and as pictures: 8 clients and 10,000, narrow terminals."""

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from zorba_ray.artifacts import record_of
from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.cli.allocation_map import allocation_map, map_legend, shades
from zorba_ray.report.allocation_pictures import write_allocation_picture
from zorba_ray.report.fleet_rows import GROUPS, fleet_rows


@functools.cache
def fleet(clients: int, blocks: int, kinds: int = 2, budgets: int = 1) -> AllocationRecord:
    """Client n is of class n mod `kinds` and holds n mod `kinds` + 1 blocks in a row from block n on; a class has
    `budgets` different budgets."""
    return record_of(
        AllocationRecord,
        {
            "clients": [
                {
                    "client": n,
                    "class": f"class {n % kinds}",
                    "examples": 2,
                    "budget_bytes": 5_000 + 1_000 * (n % kinds) + (n // kinds) % budgets,
                    "bytes": 4_000 + 1_000 * (n % kinds),
                    "blocks": sorted({(n + k) % blocks for k in range(n % kinds + 1)}),
                }
                for n in range(clients)
            ],
            "blocks": blocks,
            "epsilon": 0.5,
            "f1": 2.0,
            "f2_bytes": 1,
            "worst_share": 0.8,
            "gap": 0.0,
            "solver": "highs",
            "steps": [],
            "bytes_source": "modelled",
            "accelerator": "simulated",
        },
        "fleet",
    )


def printed(allocation: AllocationRecord, width: int) -> str:
    stream = io.StringIO()
    table = allocation_map(allocation, width).terminal(width)
    Console(file=stream, width=width, color_system=None).print(table)
    return stream.getvalue()


def test_shades_show_shares_and_join_blocks():
    share = np.array([0.0, 0.1, 0.4, 0.9, 1.0])
    assert shades(share, 5) == "·░▒▓█"
    assert shades(share, 80) == "·░▒▓█"
    assert shades(np.repeat([1.0, 0.0, 1.0, 0.5], 8), 4) == "█·█▒"
    # A rare holder is never shown as nobody, a missing one never as all.
    assert shades(np.array([1e-4, 1 - 1e-4]), 2) == "░▓"


def test_eight_clients_have_a_row_each_with_blocks_bytes_and_budget():
    text = printed(fleet(8, 6), 120)
    lines = [line for line in text.splitlines() if "class" in line and "█" in line]
    assert len(lines) == 8
    assert "·█" in lines[1].replace(" ", "")
    assert "6.0k" not in text
    for part in ("5.859 KiB", "4.883 KiB", "83.3 %", "██"):
        assert part in lines[1], part


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
@pytest.mark.parametrize(("clients", "blocks"), [(8, 6), (8, 96), (10_000, 32), (10_000, 96)])
def test_no_line_is_wider_than_the_terminal_and_the_map_stays(width, clients, blocks):
    found = fleet(clients, blocks, kinds=3)
    lines = printed(found, width).splitlines()
    assert max(map(len, lines)) <= width
    maps = [line for line in lines if any(sign in line for sign in "█▓▒░")]
    assert len(maps) == len(fleet_rows(found, 24))
    assert min(sum(line.count(sign) for sign in "·░▒▓█") for line in maps) >= min(blocks, 8)


def test_many_clients_of_few_classes_are_grouped_by_class():
    found = fleet(9_600, 32, kinds=4)
    rows = fleet_rows(found, 24)
    assert [row.kind for row in rows] == [f"class {k}" for k in range(4)]
    assert [row.clients for row in rows] == [2_400] * 4
    assert [row.blocks for row in rows] == [(k + 1, k + 1) for k in range(4)]
    # Client n begins at block n mod 32, so those of a class share 8 of the 32 first blocks evenly.
    assert set(rows[0].share.tolist()) == {0.0, 0.125}
    held = sum(row.share * row.clients for row in rows)
    counted = np.zeros(32)
    for client in found.clients:
        counted[list(client.blocks)] += 1
    np.testing.assert_allclose(held, counted)
    assert "9,600 clients in 4 groups" in printed(found, 120)
    assert f"Clients per block: {int(counted.min()):,} to {int(counted.max()):,}" in map_legend(found, 120)


def test_many_budgets_make_few_rows_from_small_to_large():
    one_class = fleet_rows(fleet(1_000, 8, kinds=1, budgets=1_000), 24)
    assert len(one_class) == GROUPS
    lows = [row.budget[0] for row in one_class if row.budget]
    assert lows == sorted(lows)
    assert sum(row.clients for row in one_class) == 1_000
    many_classes = fleet_rows(fleet(1_000, 8, kinds=100), 24)
    assert len(many_classes) == GROUPS
    assert sum(row.examples for row in many_classes) == 2_000


def test_clients_without_budgets_show_none():
    found = fleet(3, 4).tree()
    for client in found["clients"]:
        client["budget_bytes"] = None
    text = printed(record_of(AllocationRecord, found, "fleet"), 120)
    assert "budget" not in text
    assert "holds" in text


@pytest.mark.parametrize(("clients", "blocks", "kinds"), [(8, 6, 2), (10_000, 96, 3)])
def test_the_picture_is_not_empty_and_the_same_twice(clients: int, blocks: int, kinds: int, tmp_path: Path):
    found = fleet(clients, blocks, kinds)
    first, second = (write_allocation_picture(found, tmp_path / f"{name}.png") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    picture = imread(first)
    assert 0.05 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.7
