"""Blocks assigned anew during a run: one SHA-256 whatever happens, nothing probed twice, nobody over budget."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import AllocationInfeasible, Interrupted
from zorba_ray.experiment import prepare
from zorba_ray.experiment.backends import BackendFactory, ray_backend, sequential_backend
from zorba_ray.experiment.replay import replay_run
from zorba_ray.federation import Answer, Backend
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ProbePlan, RoundPlan, decode_question

PROBE = ("allocation.block_weights=probe", "allocation.probe_pairs=2")


@pytest.fixture(scope="module")
def budgets() -> Callable[[int], int]:
    """Blocks -> bytes that have room for exactly so many."""
    memory = prepare(tiny_config("memory.frozen=host", "federation.fleet=null")).memory.of(None)
    return lambda blocks: memory.base + blocks * int(memory.active_extra[0])


@pytest.fixture(scope="module")
def settings(budgets: Callable[[int], int]) -> Callable[..., ExperimentConfig]:
    """Overrides -> six rounds of two clients with four blocks and two with two."""
    fleet = [{"name": "a", "count": 2, "vram": budgets(4)}, {"name": "b", "count": 2, "vram": budgets(2)}]

    def make(*overrides: str) -> ExperimentConfig:
        return tiny_config("rounds=6", "memory.frozen=host", f"federation.fleet={json.dumps(fleet)}", *overrides)

    return make


class Watched:
    """A backend that notes what is asked, and can die in place of asking for a round."""

    def __init__(self, inner: BackendFactory = sequential_backend, dies_in: int | None = None) -> None:
        self._make = inner
        self._dies_in = dies_in
        self.probes = 0
        self.asked: dict[int, list[int]] = {}

    def backend(self, *arguments: Any) -> Backend:
        """A `BackendFactory`."""
        inner = self._make(*arguments)
        ask = inner.ask

        def watch(frame: bytes, clients: Sequence[int]) -> dict[int, Answer]:
            question = decode_question(frame)
            if isinstance(question, ProbePlan):
                self.probes += 1
            else:
                assert isinstance(question, RoundPlan)
                if question.round == self._dies_in:
                    raise KeyboardInterrupt
                self.asked[question.round] = list(clients)
            return ask(frame, clients)

        inner.ask = watch  # type: ignore[method-assign]
        return inner


def allocation(path: Path) -> dict[str, Any]:
    return json.loads((path / "allocation.json").read_text())


def rounds(path: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "round"]


def stop_after(number: int) -> tuple[Callable[[dict[str, Any]], None], Callable[[], bool]]:
    done: list[int] = []
    return (lambda event: done.append(1) if event["kind"] == "round" else None), (lambda: len(done) >= number)


def test_a_rotated_run_says_what_it_assigned(settings: Callable[..., ExperimentConfig], tmp_path: Path):
    """Three assignments of two rounds: equal f1 and bytes, other holders; the ledger has the sets when they change."""
    summary = run_here(settings("allocation.every=2"), tmp_path / "run")
    found = allocation(tmp_path / "run")
    assignments = found["assignments"]
    assert [(each["round"], each["reason"]) for each in assignments] == [(1, "start"), (3, "rotation"), (5, "rotation")]
    assert len({(each["f1"], each["f2_bytes"]) for each in assignments}) == 1
    assert all(each["clients_changed"] > 0 for each in assignments[1:])
    assert [sum(map(int, row)) for each in assignments for row in each["active"]] == [4, 4, 2, 2] * 3
    assert [["".join("1" if b in c["blocks"] else "0" for b in range(6)) for c in found["clients"]]] == [
        assignments[-1]["active"]
    ]
    commits = list(read_ledger(tmp_path / "run" / "ledger.zl").commits())
    assert [commit.round for commit in commits if commit.active is not None] == [1, 3, 5]
    assert [record["round"] for record in rounds(tmp_path / "run") if record["assignment"]] == [1, 3, 5]
    assert summary["assignments"] == 3
    assert replay_run(tmp_path / "run", None, None, None).digest == summary["weights_sha256"]
    fixed = run_here(settings(), tmp_path / "fixed")
    assert fixed["weights_sha256"] != summary["weights_sha256"]


def test_a_rotated_run_keeps_rules_and_limits(settings: Callable[..., ExperimentConfig], tmp_path: Path):
    """Client 0 must hold block 5, client 1 must not hold block 0, and client 3 alone is held to one block."""
    rules = "[{clients: [0], require: [5]}, {clients: [1], forbid: [0]}, {clients: [3], max_blocks: 1}]"
    run_here(settings("allocation.every=1", f"allocation.rules={rules}"), tmp_path / "run")
    assignments = [each["active"] for each in allocation(tmp_path / "run")["assignments"]]
    assert len({tuple(rows) for rows in assignments}) > 1
    for rows in assignments:
        assert (rows[0][5], rows[1][0], rows[3].count("1")) == ("1", "0", 1), rows
        assert all(any(row[block] == "1" for row in rows) for block in range(6)), rows


@pytest.mark.parametrize("more", [(), ("federation.snapshot_every=2",)], ids=["ledger alone", "snapshots"])
def test_a_run_that_dies_at_the_boundary_goes_on_the_same(
    settings: Callable[..., ExperimentConfig], tmp_path: Path, more: tuple[str, ...]
):
    """Killed after the assignment of round 3 was written and before its commit; then stopped right before round 5."""
    config = settings("allocation.every=2", *PROBE, *more)
    straight = run_here(config, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run_here(config, tmp_path / "run", Watched(dies_in=3).backend)
    assert [each["round"] for each in allocation(tmp_path / "run")["assignments"]] == [1, 3]
    emit, stop = stop_after(2)
    with pytest.raises(Interrupted):
        run_here(config, tmp_path / "run", emit=emit, should_stop=stop)
    assert read_ledger(tmp_path / "run" / "ledger.zl").last_round == 4
    summary = run_here(config, tmp_path / "run")
    assert summary["weights_sha256"] == straight["weights_sha256"]
    assert allocation(tmp_path / "run")["assignments"] == allocation(tmp_path / "straight")["assignments"]
    assert replay_run(tmp_path / "run", None, None, None).confirmed


def test_a_probe_is_made_once_and_counted(settings: Callable[..., ExperimentConfig], tmp_path: Path):
    """A session that dies before round 1 has probed; the next one uses what is written."""
    config = settings(*PROBE)
    first, second = Watched(dies_in=1), Watched()
    with pytest.raises(KeyboardInterrupt):
        run_here(config, tmp_path / "run", first.backend)
    written = allocation(tmp_path / "run")
    summary = run_here(config, tmp_path / "run", second.backend)
    assert (first.probes, second.probes) == (1, 0)
    assert [(each["round"], each["reason"]) for each in written["assignments"]] == [(1, "probe")]
    found = allocation(tmp_path / "run")
    assert found["probe"] == written["probe"] == found["probes"][-1]
    probe = found["probe"]
    assert probe["pairs"] == 2
    assert probe["forward_pairs"] == 4 * 2 * 6 * 2
    assert probe["bytes_up"] > 4 * 2 * 6 * 2 * 4
    assert all(len(probe[name]) == 6 for name in ("energy", "dissimilarity", "noise", "weights"))
    assert all(value > 0 for value in probe["noise"] + probe["weights"])
    assert summary["probes"] == 1
    assert summary["probe_forward_pairs"] == probe["forward_pairs"]
    assert summary["probe_bytes_up"] == probe["bytes_up"]


def test_probes_come_again_and_theta_stays(settings: Callable[..., ExperimentConfig], tmp_path: Path):
    """Asked before rounds 1, 4: each at another θ and with other directions, and the run replays."""
    watched = Watched()
    summary = run_here(settings(*PROBE, "allocation.probe_every=3"), tmp_path / "run", watched.backend)
    probes = allocation(tmp_path / "run")["probes"]
    assert watched.probes == 2
    assert [probe["round"] for probe in probes] == [1, 4]
    assert probes[0]["energy"] != probes[1]["energy"]
    assert replay_run(tmp_path / "run", None, None, None).digest == summary["weights_sha256"]


def test_nobody_is_probed_before_there_is_something_to_decide(
    settings: Callable[..., ExperimentConfig], budgets: Callable[[int], int], tmp_path: Path
):
    """All have room for all blocks until client 0 loses some in round 3: one probe, there."""
    fleet = f"federation.fleet={json.dumps([{'name': 'a', 'count': 4, 'vram': budgets(6)}])}"
    change = f'federation.changes=[{{"round": 3, "client": 0, "vram": {budgets(2)}}}]'
    watched = Watched()
    summary = run_here(settings(*PROBE, fleet, change), tmp_path / "run", watched.backend)
    found = allocation(tmp_path / "run")
    assert (watched.probes, [probe["round"] for probe in found["probes"]]) == (1, [3])
    assert [(each["round"], each["reason"]) for each in found["assignments"]] == [(1, "start"), (3, "fleet changed")]
    assert [row.count("1") for row in found["assignments"][-1]["active"]] == [2, 6, 6, 6]
    assert summary["probes"] == 1
    watched = Watched()
    run_here(settings(*PROBE, fleet, "allocation.probe_every=2"), tmp_path / "roomy", watched.backend)
    assert watched.probes == 0


def test_rotation_keeps_f1_at_the_weights_of_the_probe(settings: Callable[..., ExperimentConfig], tmp_path: Path):
    """Blocks of equal bytes weigh differently after a probe: none may be given the holders of another."""
    run_here(settings(*PROBE, "allocation.every=2"), tmp_path / "run")
    found = allocation(tmp_path / "run")
    weights = np.array(found["probe"]["weights"])
    worth = [
        float((weights / np.array([[mark == "1" for mark in row] for row in each["active"]]).sum(axis=0)).sum())
        for each in found["assignments"]
    ]
    assert len(worth) == 3
    assert worth == pytest.approx([worth[0]] * 3, rel=1e-12)
    assert any(each["clients_changed"] for each in found["assignments"][1:])


def changes(budgets: Callable[[int], int]) -> str:
    """Client 1 leaves for two rounds, client 3 joins late, and client 0 gets room for two blocks less."""
    entries = [
        {"round": 2, "client": 1, "present": False},
        {"round": 4, "client": 1, "present": True},
        {"round": 3, "client": 3, "present": True},
        {"round": 5, "client": 0, "vram": budgets(2)},
    ]
    return f"federation.changes={json.dumps(entries)}"


def test_a_changing_fleet(settings: Callable[..., ExperimentConfig], budgets: Callable[[int], int], tmp_path: Path):
    """Who is absent is not asked and holds nothing; budgets hold in every assignment; each change assigns anew."""
    watched = Watched()
    config = settings(changes(budgets))
    summary = run_here(config, tmp_path / "run", watched.backend)
    assert watched.asked == {1: [0, 1, 2], 2: [0, 2], 3: [0, 2, 3], 4: [0, 1, 2, 3], 5: [0, 1, 2, 3], 6: [0, 1, 2, 3]}
    assignments = allocation(tmp_path / "run")["assignments"]
    assert [(each["round"], each["reason"]) for each in assignments[1:]] == [(n, "fleet changed") for n in (2, 3, 4, 5)]
    room = {1: (4, 4, 2, 0), 2: (4, 0, 2, 0), 3: (4, 0, 2, 2), 4: (4, 4, 2, 2), 5: (2, 4, 2, 2)}
    for each in assignments:
        held = [sum(map(int, row)) for row in each["active"]]
        assert all(have <= may for have, may in zip(held, room[each["round"]], strict=True)), each
        assert all(any(row[block] == "1" for row in each["active"]) for block in range(6)), each
    emit, stop = stop_after(3)
    with pytest.raises(Interrupted):
        run_here(config, tmp_path / "again", emit=emit, should_stop=stop)
    again = run_here(config, tmp_path / "again")
    assert again["weights_sha256"] == summary["weights_sha256"]
    assert replay_run(tmp_path / "again", None, None, None).digest == summary["weights_sha256"]


def test_a_change_that_leaves_no_allocation_is_refused_at_the_start(
    settings: Callable[..., ExperimentConfig], tmp_path: Path
):
    """From round 5 on client 0 could not hold one block: refused before a ledger exists, with the bytes missing."""
    with pytest.raises(AllocationInfeasible, match=r"from round 5 on: .*client 0 .*bytes missing"):
        run_here(settings('federation.changes=[{"round": 5, "client": 0, "vram": 1000}]'), tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.zl").exists()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_on_ray_the_same(settings: Callable[..., ExperimentConfig], budgets: Callable[[int], int], tmp_path: Path):
    """Probes, rotation and a changing fleet over two actors: the SHA-256 and the assignments of the sequential run."""
    overrides = ("allocation.every=2", "allocation.probe_every=3", *PROBE, changes(budgets))
    here = run_here(settings(*overrides), tmp_path / "here")
    there = run_here(settings(*overrides, "federation.backend=ray"), tmp_path / "there", ray_backend)
    assert there["weights_sha256"] == here["weights_sha256"]
    for key in ("assignments", "probes"):
        assert allocation(tmp_path / "there")[key] == allocation(tmp_path / "here")[key]
    assert replay_run(tmp_path / "there", None, None, None).digest == here["weights_sha256"]
