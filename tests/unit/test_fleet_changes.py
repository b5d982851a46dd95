"""Settings of re-allocation, and the fleet that they make round by round."""

import json

import numpy as np
import pytest

from zorba_ray.assignment import FleetSchedule
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.errors import ConfigError, MessageError
from zorba_ray.federation import participants
from zorba_ray.protocol.messages import ProbePlan, ProbeReport, RoundPlan, decode, decode_question, encode

FLEET = 'federation.fleet=[{"name": "a", "count": 2, "vram": 100}, {"name": "b", "count": 2, "vram": 50}]'


def config(*changes: dict[str, object], overrides: tuple[str, ...] = ()) -> ExperimentConfig:
    """Two clients a of 100 bytes and two b of 50."""
    more = [f"federation.changes={json.dumps(changes)}", *overrides]
    return load_config("demo", ["rounds=9", "federation.clients=4", FLEET, *more])


def test_the_fleet_of_a_round():
    """Client 0 leaves in 3 and is back in 5; class b joins in 4, so it is absent before; a budget in 5."""
    found = FleetSchedule(
        config(
            {"round": 3, "client": 0, "present": False},
            {"round": 5, "client": 0, "present": True},
            {"round": 4, "kind": "b", "present": True},
            {"round": 5, "client": 1, "vram": "1 KB"},
        )
    )
    here = {number: [client.id for client in found.at(number) if client.present] for number in range(1, 7)}
    assert here == {1: [0, 1], 2: [0, 1], 3: [1], 4: [1, 2, 3], 5: [0, 1, 2, 3], 6: [0, 1, 2, 3]}
    assert [client.budget for client in found.at(4)] == found.budgets_at(4) == [100, 100, 50, 50]
    assert [client.budget for client in found.at(5)] == found.budgets_at(9) == [100, 1000, 50, 50]
    assert found.rounds == (1, 3, 4, 5)
    assert found.largest_budgets == [100, 1000, 50, 50]


def test_order_in_the_file_does_not_count():
    one, other = {"round": 3, "client": 0, "present": False}, {"round": 5, "client": 0, "present": True}
    assert FleetSchedule(config(one, other)).at(4) == FleetSchedule(config(other, one)).at(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"round": 0, "client": 0, "present": False}, "greater than or equal to 1"),
        ({"round": 10, "client": 0, "present": False}, "names round 10, the run ends with round 9"),
        ({"round": 3, "client": 4, "present": False}, "there is no client 4"),
        ({"round": 3, "kind": "c", "present": False}, "there is no class 'c'"),
        ({"round": 3, "present": False}, "needs either client or kind"),
        ({"round": 3, "client": 0, "kind": "a", "present": False}, "needs either client or kind"),
        ({"round": 3, "client": 0}, "either vram or present"),
        ({"round": 3, "client": 0, "vram": 7, "present": True}, "either vram or present"),
        ({"round": 3, "client": 0, "vram": 0}, "greater than 0"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        config(change)


def test_whoever_leaves_in_round_1_is_never_there():
    found = FleetSchedule(
        config({"round": 1, "client": 1, "present": False}, {"round": 1, "kind": "b", "present": False})
    )
    assert {tuple(client.present for client in found.at(number)) for number in range(1, 10)} == {(True, *[False] * 3)}
    assert found.rounds == (1,)
    with pytest.raises(ConfigError, match="round 1: every client is absent"):
        config({"round": 1, "kind": "a", "present": False}, {"round": 1, "kind": "b", "present": False})


def test_nobody_leaves_twice():
    with pytest.raises(ConfigError, match="round 5: client 1 cannot leave twice in a row"):
        config({"round": 3, "client": 1, "present": False}, {"round": 5, "kind": "a", "present": False})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("federation.fleet=null", 'federation.changes=[{"round": 3, "client": 1, "vram": 7}]'),
            r"needs federation\.fleet",
        ),
        (("allocation.probe_every=5",), "only block_weights=probe"),
        (("allocation.algorithm=random", "allocation.epsilon=0.5"), "only algorithm=lexicographic uses ε"),
        (("allocation.algorithm=last", "allocation.block_weights=probe"), "does not use the weights of blocks"),
        (("allocation.algorithm=last", "allocation.every=5"), "would not be the last blocks"),
        (("allocation.probe_pairs=1",), "greater than or equal to 2"),
        (("allocation.every=0",), "greater than or equal to 1"),
        (("allocation.algorithm=best",), "lexicographic"),
    ],
)
def test_settings_that_contradict_are_refused(overrides: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        config(overrides=overrides)


def test_participants_are_drawn_from_those_who_are_here():
    absent = frozenset({1, 5})
    for number in range(1, 30):
        asked = participants(3, number, 8, 3, absent)
        assert len(set(asked)) == 3
        assert not absent & set(asked)
    assert participants(3, 1, 8, None, absent) == (0, 2, 3, 4, 6, 7)
    assert len(participants(3, 1, 8, 0.5, absent)) == 3
    assert participants(3, 1, 8, 7, absent) == (0, 2, 3, 4, 6, 7)
    assert [participants(3, n, 8, 3) for n in range(9)] == [participants(3, n, 8, 3, frozenset()) for n in range(9)]


def test_probe_messages_travel():
    plan = ProbePlan(4, 8, 1e-3, b"12345678", b"\x07\x38")
    assert decode_question(encode(plan)) == plan
    rounds = RoundPlan(4, 0.1, 1e-3, b"12345678")
    assert decode_question(encode(rounds)) == rounds
    report = ProbeReport(4, 1, b"12345678", np.zeros(6, "<f4").tobytes())
    assert decode(encode(report), ProbeReport) == report
    assert len(encode(report)) <= 24 + 24
    damaged = bytearray(encode(plan))
    damaged[5] ^= 1
    for frame in (bytes(damaged), b"", b"\x01\x04"):
        with pytest.raises(MessageError, match="damaged"):
            decode_question(frame)
    with pytest.raises(MessageError):
        decode_question(encode(report))
