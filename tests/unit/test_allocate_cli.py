"""`zorba-ray allocate`: what it prints and writes, and what it answers to a question that has no answer."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from zorba_ray.allocation import lexicographic
from zorba_ray.config import load_config
from zorba_ray.experiment import prepare


@pytest.fixture
def room(tiny_file: Path) -> tuple[int, int]:
    """Bytes of a client with nothing active, and of one more active block."""
    memory = prepare(load_config(str(tiny_file))).memory.of(None)
    assert len(set(memory.active_extra.tolist())) == 1
    return memory.base, int(memory.active_extra[0])


def fleet(room: tuple[int, int], *places: int) -> str:
    """The override for one client with room for each number of blocks."""
    kinds = [f"{{name: of-{k}-{n}, count: 1, vram: {room[0] + k * room[1]}}}" for n, k in enumerate(places)]
    return f"federation.fleet=[{', '.join(kinds)}]"


def test_tables_front_and_files(cli: Cli, tiny_file: Path, tmp_path: Path, room: tuple[int, int]) -> None:
    out = tmp_path / "a" / "b"
    arguments = (tiny_file, fleet(room, 6, 4, 2, 2), "allocation.epsilon=0.5")
    found = cli("allocate", *arguments, "--front", 5, "--what-if", "--out", out)
    assert found.code == 0, found.err
    record, front, what_if = (
        json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in ("allocation", "front", "what_if")
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "allocation.json", "allocation.png", "front.json", "front.png", "what_if.json",
    ]  # fmt: skip
    for name in ("allocation", "front"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    # Four rows of six signs, each with as many blocks as the record says.
    rows = [line for line in found.out.splitlines() if "of-" in line]
    assert [row.count("█") for row in rows] == [len(client["blocks"]) for client in record["clients"]]
    assert [row.count("█") + row.count("·") for row in rows] == [6] * 4
    for text in ("Objectives at ε = 0.5", "bound here", "data (this run)", "inverse_noise", "Pareto front"):
        assert text in found.out
    assert f"{len(front['points'])} points" in found.out
    assert "The budgets are large enough" in found.out
    assert what_if["feasible"]
    assert what_if["factor"] < 1
    # The ends of the front, the run's own ε on it, and the numbers of one point from its matrix.
    points = front["points"]
    assert [points[0]["epsilon"], points[-1]["epsilon"]] == [0.0, 1.0]
    assert all(one["f1"] < two["f1"] and one["f2_bytes"] > two["f2_bytes"] for one, two in pairwise(points))
    assert any(point["f1"] == record["f1"] and point["f2_bytes"] == record["f2_bytes"] for point in points)
    assert points[-1]["f2_bytes"] == 4 * room[0] + 6 * room[1]
    exact = record["exact_variance"]
    assert exact["energies"] == "uniform"
    # Equal blocks of d parameters, P directions, energies of 1 in all: Σ_b d/P Σ p_n² = L d Σ p_n² / P.
    samples = [client["examples"] for client in record["clients"]]
    squares = sum((count / sum(samples)) ** 2 for count in samples)
    sizes = record["block_parameters_in_scope"]
    assert exact["all_active"]["data"] == pytest.approx(sum(sizes) * squares)


def test_json_is_one_object_with_front_and_what_if(cli: Cli, tiny_file: Path, room: tuple[int, int]) -> None:
    found = cli("allocate", tiny_file, fleet(room, 3, 3, 3, 3), "--json", "--front", 2, "--what-if")
    assert found.code == 0, found.err
    tree = json.loads(found.out)
    assert {"clients", "f1", "objectives", "exact_variance", "front", "what_if"} <= set(tree)
    assert "front: solving ε = 1" in found.err


def test_an_infeasible_fleet_is_told_the_smallest_budgets_unasked(
    cli: Cli, tiny_file: Path, tmp_path: Path, room: tuple[int, int]
) -> None:
    """Four clients with one place each, six blocks: two blocks are missing, and budgets that would do are named."""
    arguments = (tiny_file, fleet(room, 1, 1, 1, 1))
    found = cli("allocate", *arguments, "--out", tmp_path)
    assert found.code == 3
    assert found.err.count("error: ") == 1
    assert f"{2 * room[1]:,} bytes missing in all" in found.out
    assert "memory.frozen_format=int8 would leave room for 24 active blocks in all, 6 on the smallest" in found.err
    assert "(4 and 1 now; 6 are needed)" in found.err
    assert "What if" in found.out
    what_if = json.loads((tmp_path / "what_if.json").read_text(encoding="utf-8"))
    assert not what_if["feasible"]
    assert what_if["missing_bytes"] == 2 * room[1]
    assert what_if["factor"] == pytest.approx((room[0] + 2 * room[1]) / (room[0] + room[1]))
    as_json = cli("allocate", *arguments, "--json")
    assert as_json.code == 3
    tree = json.loads(as_json.out)
    assert tree["what_if"] == what_if
    assert tree["infeasible"] in as_json.err
    needed = {client["client"]: client["needed_bytes"] for client in what_if["clients"]}
    raised = [(needed.get(n, room[0] + room[1]) - room[0]) // room[1] for n in range(4)]
    assert cli("allocate", tiny_file, fleet(room, *raised)).code == 0


def test_comparators_and_probes_are_shown_as_what_they_are(
    cli: Cli, tiny_file: Path, tmp_path: Path, room: tuple[int, int]
) -> None:
    """`last` leaves blocks to nobody and proves nothing; a probe's energies stand in the exact variance."""
    last = cli("allocate", tiny_file, fleet(room, 2, 2, 1, 1), "allocation.algorithm=last", "--out", tmp_path)
    assert last.code == 0, last.err
    assert "∞" in last.out
    assert "Solver: last" in last.out
    assert "bound here" not in last.out
    record = json.loads((tmp_path / "allocation.json").read_text(encoding="utf-8"))
    assert record["objectives"][0] == {
        "objective": "convergence", "value": None, "bound": None, "gap": None, "best": None,
    }  # fmt: skip
    probed = ("allocation.block_weights=probe", "allocation.probe_pairs=2", "--front", "2")
    found = cli("allocate", tiny_file, fleet(room, 2, 2, 2, 2), *probed, "--json")
    assert found.code == 0, found.err
    tree = json.loads(found.out)
    assert tree["exact_variance"]["energies"] == "measured"
    # Everything active, data weights: Σ_b d_b / P Σ_n p_n² Σ_c e_c.
    share = [client["examples"] for client in tree["clients"]]
    squares = sum((count / sum(share)) ** 2 for count in share)
    probe = tree["probe"]
    energies = sum(probe["energy"]) + (1 - squares) * sum(probe["dissimilarity"]) + sum(probe["noise"])
    whole = sum(tree["block_parameters_in_scope"]) * squares * energies
    assert tree["exact_variance"]["all_active"]["data"] == pytest.approx(whole)


def test_nobody_is_probed_where_that_decides_nothing(cli: Cli, tiny_file: Path, room: tuple[int, int]) -> None:
    """Room for all six blocks and ε = 0: all are active whatever they weigh. A front asks for them at other ε."""
    probing = ("allocation.block_weights=probe", "allocation.probe_pairs=2", "--json")
    arguments = (tiny_file, fleet(room, 6, 6, 6, 6), *probing)

    def told(*more: object) -> dict[str, Any]:
        found = cli("allocate", *arguments, *more)
        assert found.code == 0, found.err
        return json.loads(found.out)

    tree = told()
    assert tree["probe"] is None
    assert tree["f1"] == pytest.approx(1.0)
    assert [len(client["blocks"]) for client in tree["clients"]] == [6] * 4
    assert told("--front", 2)["probe"] is not None
    assert told("allocation.epsilon=0.5")["probe"] is not None
    assert told("federation.seeds=shared")["probe"] is not None
    assert told("allocation.max_blocks=5")["probe"] is not None
    assert told("allocation.rules=[{clients: [1], forbid: [0]}]")["probe"] is not None


def test_everybody_with_room_for_everything_under_auto(cli: Cli, tiny_file: Path) -> None:
    """In fp32 on the accelerator an active block costs nothing; that `auto` chose so is an answer, not a mistake."""
    kinds = "federation.fleet=[{name: roomy, count: 4, vram: 1GB}]"
    found = cli("allocate", tiny_file, kinds, "memory.frozen=auto", "memory.master=auto", "memory.compute_dtype=fp32")
    assert found.code == 0, found.err
    assert "activation costs no memory" in found.out
    for rule in ("max_blocks=5", "rules=[{clients: [3], forbid: [0]}]", "rules=[{clients: [3], max_blocks: 5}]"):
        found = cli("allocate", tiny_file, "memory.frozen=device", f"allocation.{rule}")
        assert found.code == 2
        assert "may hold 5 of 6 blocks" in found.err


HELD_AND_NOT = "allocation.rules=[{clients: [1], require: [2]}, {clients: [1], forbid: [2]}]"


@pytest.mark.parametrize(
    ("places", "override", "code", "words"),
    [
        ((0, 0, 0, 0), "seed=3", 3, ["client 0", "(and 3 with the same figures)", "smallest block", "bytes missing"]),
        (
            (2, 2, 2, 2),
            "allocation.coverage=2",
            3,
            ["12 block places", "have room for 8: 4 too few", "the smallest raise"],
        ),
        ((6, 6, 6, 6), "allocation.coverage=5", 2, ["allocation.coverage (5)", "federation.clients (4)"]),
        (
            (3, 3, 3, 3),
            HELD_AND_NOT,
            2,
            ["client 1", "block 2", "must_not_hold: allocation.rules"],
        ),
        ((3, 3, 3, 3), "allocation.rules=[{forbid: [0]}]", 3, ["only 0 of 4", "block 0"]),
        ((3, 3, 3, 3), "allocation.rules=[{min_blocks: 4, max_blocks: 2}]", 2, ["at least 4", "at most 2"]),
        ((), "federation.fleet=[{name: a, count: 4, vram: -5}]", 2, ["-5 is not a number of bytes"]),
        ((), f"federation.fleet=[{{name: a, count: 4, vram: {2**63}}}]", 2, ["less than or equal to", str(2**62)]),
        ((3, 3, 3, 3), "allocation.epsilon=1.1", 2, ["epsilon = 1.1", "less than or equal to 1"]),
    ],
)
def test_bad_questions_are_refused_in_numbers(
    cli: Cli,
    tiny_file: Path,
    room: tuple[int, int],
    places: tuple[int, ...],
    override: str,
    code: int,
    words: list[str],
) -> None:
    budgets = (fleet(room, *places),) if places else ()
    overrides = re.split(r" (?=allocation\.)", override)
    found = cli("allocate", tiny_file, *budgets, *overrides)
    assert found.code == code, found.err
    assert found.err.count("error: ") == 1
    for word in words:
        assert word in found.err


def test_without_time_the_answer_says_that_it_is_the_heuristic_s(
    cli: Cli, tiny_file: Path, room: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no heuristic point either, the fleet is not called infeasible."""
    arguments = (tiny_file, fleet(room, 3, 4, 2, 2), "allocation.epsilon=0.5", "allocation.time_limit_s=1e-9")
    found = cli("allocate", *arguments)
    assert found.code == 0, found.err
    assert "Solver: greedy." in found.out
    monkeypatch.setattr(lexicographic, "greedy", lambda *_: None)
    found = cli("allocate", *arguments)
    assert found.code == 3
    for words in ("nor the greedy heuristic", "6 blocks to 4 clients", "does not prove", "allocation.time_limit_s"):
        assert words in found.err


@pytest.mark.parametrize("count", ["1", "0", "-5"])
def test_a_front_of_less_than_two_points_is_refused_at_once(cli: Cli, tiny_file: Path, count: str) -> None:
    found = cli("allocate", tiny_file, "--front", count)
    assert found.code == 2
    assert f"--front {count}: a front needs at least 2 points" in found.err
    assert found.out == ""


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written_is_refused_at_once(
    cli: Cli, tiny_file: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    found = cli("allocate", tiny_file, "--out", tmp_path / place)
    assert found.code == 8
    assert f"--out {tmp_path / place}" in found.err
    assert found.out == ""
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_fleet_without_budgets(cli: Cli, tiny_file: Path) -> None:
    """It has a front, as convergence still costs memory, but no what-if; where activation is free it has neither."""
    found = cli("allocate", tiny_file, "--what-if")
    assert found.code == 2
    assert "federation.fleet is null" in found.err
    assert "4 clients" in found.err
    assert "Pareto front" in cli("allocate", tiny_file, "--front", 2).out
    free = cli("allocate", tiny_file, "--front", 2, "memory.master=host", "memory.frozen=device")
    assert free.code == 2
    assert "budgets cannot decide which blocks are active" in free.err
    assert "Active blocks: 4 clients" in free.out, "the allocation itself is not lost"
