"""A round over a scripted backend: what is rejected, why, and when the round fails."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.config import ExperimentConfig, ZOConfig
from zorba_ray.errors import Diverged, LostClients, NotFinite, ReportRejected
from zorba_ray.federation.backend import Answer, Failure, Usage
from zorba_ray.federation.round import RoundResult, needed_reports, participants, run_round, spare_clients
from zorba_ray.methods.zorba import Zorba
from zorba_ray.models import Manifest
from zorba_ray.protocol.messages import ClientReport, RoundCommit, decode, encode, frame_digest
from zorba_ray.zo import UpdateRule

SAMPLES = (10, 20, 30, 40)
RULE = UpdateRule(
    seed=1, seeds="per_client", weights="data", distribution="rademacher", scope="all", directions=2, local_steps=3,
    samples=SAMPLES,
)  # fmt: skip
NOTHING = Manifest((), 0)
CENTRAL: dict[str, Any] = {"directions": 2, "local_steps": 3, "difference": "central"}
METHOD = Zorba(ExperimentConfig(rounds=10, zo=ZOConfig(**CENTRAL, clip=100.0)), RULE, NOTHING)
PLAN = METHOD.plan(4, b"0123456789", None)


def report(client: int, **changes: Any) -> ClientReport:
    """What an honest client would say: K·P = 6 scalars."""
    scalars = (np.arange(6, dtype="<f4") + client).tobytes()
    loss = np.float32(1.0 + client).tobytes()
    honest = ClientReport(4, client, frame_digest(encode(PLAN)), loss, SAMPLES[client], scalars)
    return msgspec.structs.replace(honest, **changes)


class Script:
    """`Backend` that answers what it was told, honestly where it was told nothing."""

    def __init__(self, answers: dict[int, Answer]) -> None:
        self._answers = answers

    def ask(self, plan: bytes, clients: Sequence[int], enough: int | None = None) -> dict[int, Answer]:
        assert plan == encode(PLAN)
        return {client: self._answers.get(client, encode(report(client))) for client in reversed(clients)}

    def apply(self, body: bytes) -> None:
        raise AssertionError("a round applies nothing")

    def usage(self) -> list[Usage]:
        return []

    def retries(self) -> int:
        return 0

    def close(self) -> None:
        pass


def play(answers: dict[int, Answer] | None = None, quorum: float = 0.5) -> RoundResult:
    return run_round(Script(answers or {}), METHOD, PLAN, (0, 1, 2, 3), quorum)


def committed(result: RoundResult) -> list[int]:
    """An empty list of ids says: all four."""
    return np.frombuffer(result.commit.clients, "<u4").tolist() or [0, 1, 2, 3]


def fp32(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def test_an_honest_round() -> None:
    result = play()
    assert result.commit.clients == b"", "all four reported"
    np.testing.assert_array_equal(result.scalars, np.concatenate([np.arange(6) + client for client in range(4)]))
    assert decode(result.body, RoundCommit) == result.commit
    assert (result.commit.round, result.commit.lr) == (4, PLAN.lr)
    assert result.asked == (0, 1, 2, 3)
    assert (result.failed, result.late, result.rejected) == ({}, {}, {})
    # Losses 1, 2, 3, 4 weighted by 10, 20, 30, 40 examples: 300/100.
    assert result.loss == pytest.approx(3.0)


DISHONEST = {
    "nan scalar": ({"scalars": fp32(1, 2, float("nan"), 4, 5, 6)}, "a scalar is not finite"),
    "infinite scalar": ({"scalars": fp32(1, 2, float("-inf"), 4, 5, 6)}, "a scalar is not finite"),
    "beyond clip": ({"scalars": fp32(1, 2, 3, -100.5, 5, 6)}, r"100\.5 exceeds zo\.clip = 100"),
    "another round": ({"round": 3}, "for round 3, round 4 was asked for"),
    "too few scalars": ({"scalars": fp32(1, 2, 3, 4, 5)}, "20 bytes of scalars, 24 expected"),
    "too many scalars": ({"scalars": fp32(*range(7))}, "28 bytes of scalars, 24 expected"),
    "no scalars": ({"scalars": b""}, "0 bytes of scalars, 24 expected"),
    "broken scalar": ({"scalars": fp32(*range(6)) + b"x"}, "25 bytes of scalars, 24 expected"),
    "another plan": ({"plan": b"01234567"}, "an answer to another plan"),
    "part of the plan": ({"plan": frame_digest(encode(PLAN))[:4]}, "an answer to another plan"),
    "another client": ({"client": 3}, "from client 3, client 2 was asked"),
    "more examples": ({"samples": 31}, "31 examples, the client has 30"),
    "negative examples": ({"samples": -30}, "-30 examples, the client has 30"),
    "nan loss": ({"loss": fp32(float("nan"))}, "the loss is not finite"),
    "infinite loss": ({"loss": fp32(float("inf"))}, "the loss is not finite"),
    "no loss": ({"loss": b""}, "0 bytes of loss, 4 expected"),
    "double loss": ({"loss": np.float64(1).tobytes()}, "8 bytes of loss, 4 expected"),
}


@pytest.mark.parametrize(("changes", "reason"), DISHONEST.values(), ids=DISHONEST.keys())
def test_a_bad_report_is_rejected_by_name_and_the_round_goes_on(changes: dict[str, Any], reason: str) -> None:
    result = play({2: encode(msgspec.structs.replace(report(2), **changes))})
    assert list(result.rejected) == [2]
    assert re.search(reason, result.rejected[2])
    assert committed(result) == [0, 1, 3]
    np.testing.assert_array_equal(result.scalars, np.concatenate([np.arange(6) + client for client in (0, 1, 3)]))
    # (1·10 + 2·20 + 4·40)/70
    assert result.loss == pytest.approx(3.0)
    assert len(result.frames) == 4, "its bytes were on the wire all the same"


@pytest.mark.parametrize(
    "frame", [b"", b"noise", encode(PLAN), encode(report(2))[:-1], encode(report(2)) + b"x"], ids=range(5)
)
def test_a_frame_that_is_no_report_is_rejected(frame: bytes) -> None:
    result = play({2: frame})
    assert "ClientReport" in result.rejected[2]
    assert committed(result) == [0, 1, 3]


def test_a_scalar_at_the_clip_is_allowed() -> None:
    result = play({2: encode(report(2, scalars=fp32(100, -100, 0, 0, 0, 0)))})
    assert not result.rejected
    fractional = Zorba(ExperimentConfig(zo=ZOConfig(**CENTRAL, clip=0.1)), RULE, NOTHING)
    fractional.check(report(2, scalars=fp32(*[0.1] * 6)), 2, PLAN, frame_digest(encode(PLAN)))


def test_without_clip_the_loss_bounds_the_scalars() -> None:
    """Client 2 reports a loss of 3, μ is 0.001: |F⁺ − F⁻| / 2μ is 3000 at most in the mean, 18,000 in one of six."""
    method = Zorba(ExperimentConfig(zo=ZOConfig(**CENTRAL)), RULE, NOTHING)

    def check(*scalars: float, **changes: Any) -> None:
        method.check(report(2, scalars=fp32(*scalars), **changes), 2, PLAN, frame_digest(encode(PLAN)))

    check(*[3000.0] * 6)
    check(-18000.0, 0, 0, 0, 0, 0)
    check(*[0.0] * 6, loss=fp32(0.0))
    for scalars in ([3100.0] * 6, [0, 0, -19000.0, 0, 0, 0], [1e9] * 6):
        with pytest.raises(ReportRejected, match="losses cannot differ by more than they are"):
            check(*scalars)
    for scalars in ([3e38] * 6, [0, 0, 0, 0, 0, -3.4e38]):
        with pytest.raises(ReportRejected, match="losses would differ by 16777216 or more"):
            check(*scalars)
    with pytest.raises(NotFinite, match="no digit after the point"):
        check(*[3e38] * 6, loss=fp32(3e38))
    with pytest.raises(ReportRejected, match="never negative"):
        check(*[0.0] * 6, loss=fp32(-1.0))


def test_of_one_sided_differences_the_loss_bounds_the_negative_ones() -> None:
    """F(θ + μz) may be any multiple of F(θ), but not below 0; and 2^24 / μ bounds both."""
    zo = ZOConfig(directions=2, local_steps=3, difference="forward")
    method = Zorba(ExperimentConfig(zo=zo), RULE, NOTHING)

    def check(value: float) -> None:
        method.check(report(2, scalars=fp32(*[value] * 6)), 2, PLAN, frame_digest(encode(PLAN)))

    check(1e6)
    check(-3000.0)
    for value in (-3100.0, 1.7e10, 3e38):
        with pytest.raises(ReportRejected, match="of no model"):
            check(value)


def refuses(*clients: int, more_than: int = 0) -> Callable[[bytes], None]:
    """A judge of commits that cannot apply the scalars of some clients, nor those of more than so many."""

    def judge(body: bytes) -> None:
        commit = decode(body, RoundCommit)
        reported = np.frombuffer(commit.clients, "<u4").tolist() or [0, 1, 2, 3]
        if set(reported) & set(clients) or len(reported) > more_than > 0:
            raise Diverged(f"not with {reported}")

    return judge


def test_whose_report_cannot_be_applied_is_left_out_by_name() -> None:
    """What is committed is what it would be had the client failed."""
    result = run_round(Script({}), METHOD, PLAN, (0, 1, 2, 3), 0.5, refuses(1, 3))
    assert result.rejected == {1: "not with [1]", 3: "not with [3]"}
    assert result.body == play({n: Failure("failed", "gone") for n in (1, 3)}).body
    assert len(result.frames) == 4
    with pytest.raises(Diverged, match=r"numbers of 2 of 4 clients .*federation\.quorum=0\.75 needs 3"):
        run_round(Script({}), METHOD, PLAN, (0, 1, 2, 3), 0.75, refuses(1, 3))
    with pytest.raises(Diverged, match=r"not with \[0, 1, 2, 3\]"):
        run_round(Script({}), METHOD, PLAN, (0, 1, 2, 3), 0.5, refuses(more_than=3))


def test_a_quorum_that_only_divergence_missed_is_divergence() -> None:
    nan = encode(report(0, scalars=fp32(*[float("nan")] * 6)))
    gone, grown = Failure("failed", "the actor died"), Failure("failed", "Diverged: too large", diverged=True)
    two: dict[int, Answer] = {0: nan, 1: encode(report(1, loss=fp32(float("inf"))))}
    with pytest.raises(Diverged, match="round 4: the numbers of 2 of 4 clients are no longer finite"):
        play(two, quorum=0.75)
    with pytest.raises(Diverged, match="3 of 4"):
        play({**two, 2: grown}, quorum=0.75)
    with pytest.raises(LostClients, match="1 of 4 reports"):
        play({0: nan, 1: gone, 2: gone}, quorum=0.75)
    assert play({0: nan}, quorum=0.75).rejected == {0: "a scalar is not finite"}


def test_failed_and_late_clients_are_kept_apart() -> None:
    result = play({0: Failure("failed", "the actor died"), 3: Failure("late", "no answer in 5 s")})
    assert (result.failed, result.late) == ({0: "the actor died"}, {3: "no answer in 5 s"})
    assert committed(result) == [1, 2]
    assert len(result.frames) == 2


def test_below_the_quorum_all_reasons_are_told() -> None:
    answers: dict[int, Answer] = {
        0: Failure("failed", "the actor died"),
        1: Failure("late", "no answer in 5 s"),
        2: encode(report(2, round=3)),
    }
    with pytest.raises(LostClients) as caught:
        play(answers, quorum=0.5)
    message = str(caught.value)
    assert caught.value.exit_code == 5
    for fragment in (
        "round 4: 1 of 4 reports",
        "federation.quorum=0.5 needs 2",
        "client 0: the actor died",
        "client 1: no answer in 5 s",
        "client 2: for round 3",
        "--resume",
    ):
        assert fragment in message


def test_nobody_at_all_is_below_any_quorum() -> None:
    with pytest.raises(LostClients, match=r"0 of 4 reports"):
        play({client: Failure("failed", "gone") for client in range(4)}, quorum=1e-6)


@pytest.mark.parametrize(
    ("asked", "quorum", "needed"),
    [(8, 0.5, 4), (7, 0.5, 4), (8, 1.0, 8), (8, 1e-9, 1), (10, 0.3, 3), (3, 1 / 3, 1), (1, 0.5, 1), (10, 0.7, 7)],
)
def test_needed_reports(asked: int, quorum: float, needed: int) -> None:
    """⌈quorum · asked⌉, at least one; 0.7 · 10 is 7.000000000000001 in floating point… or 7: it must not become 8."""
    assert needed_reports(asked, quorum) == needed


# Participants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "count"),
    [(None, 8), (3, 3), (8, 8), (1, 1), (0.5, 4), (0.3, 2), (0.3125, 3), (0.01, 1), (0.99, 8)],
)
def test_counts_are_exact(wanted: float | None, count: int) -> None:
    """A share is rounded half up (0.3125 · 8 = 2.5 -> 3), at least one."""
    for round in range(1, 20):
        asked = participants(7, round, 8, wanted)
        assert len(asked) == len(set(asked)) == count
        assert list(asked) == sorted(asked)
        assert set(asked) <= set(range(8))


@given(st.integers(0, 2**64 - 1), st.integers(1, 10**6), st.integers(1, 50), st.data())
def test_the_sample_is_a_function_of_seed_and_round(seed: int, round: int, clients: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, clients))
    asked = participants(seed, round, clients, wanted)
    assert asked == participants(seed, round, clients, wanted)
    assert len(asked) == wanted


def test_everybody_has_a_turn() -> None:
    """3 of 8 in 2,000 rounds: each 750 times in the mean, deviation √(2000 · 3/8 · 5/8) = 21.7; allow five."""
    counts = np.zeros(8)
    for round in range(1, 2001):
        counts[list(participants(1, round, 8, 3))] += 1
    assert (np.abs(counts - 750) < 5 * 21.7).all()
    assert participants(1, 1, 8, 3) != participants(2, 1, 8, 3) or participants(1, 2, 8, 3) != participants(2, 2, 8, 3)


SPARED: list[tuple[dict[int, Answer], list[int]]] = [
    ({}, [0, 1]),
    ({3: Failure("late", "slow"), 2: Failure("late", "slow")}, [0, 1]),
    ({0: Failure("failed", "gone")}, [1, 3]),
    ({0: encode(report(0, loss=fp32(np.nan))), 1: Failure("late", "slow")}, [2, 3]),
    ({0: Failure("failed", "gone"), 3: Failure("late", "slow")}, [1, 2]),
    ({0: Failure("failed", "gone"), 2: Failure("late", "slow"), 3: Failure("late", "slow")}, [1]),
]
"""Answers of clients 0 and 1 with the spares 3 and 2, in this order; and whose reports are used."""


@pytest.mark.parametrize(("answers", "used"), SPARED)
def test_a_spare_client_stands_in_only_where_a_report_is_missing(answers: dict[int, Answer], used: list[int]) -> None:
    result = run_round(Script(answers), METHOD, PLAN, (0, 1), 0.5, spares=(3, 2))
    assert committed(result) == used
    assert not set(result.late) - {0, 1}, "nobody waits for a spare client"
    if not answers:
        assert result.body == run_round(Script({}), METHOD, PLAN, (0, 1), 0.5).body


def test_the_quorum_is_of_the_participants() -> None:
    """With federation.quorum=1 two of two reports are needed, whoever's; a failed participant does not raise that."""
    gone: dict[int, Answer] = {0: Failure("failed", "gone")}
    assert committed(run_round(Script(gone), METHOD, PLAN, (0, 1), 1.0, spares=(3, 2))) == [1, 3]
    with pytest.raises(LostClients, match=r"1 of 4 reports, federation.quorum=1\.0 needs 2"):
        run_round(Script(dict.fromkeys((0, 2, 3), gone[0])), METHOD, PLAN, (0, 1), 1.0, spares=(3, 2))


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 2**32), st.sets(st.integers(0, 39), max_size=5))
def test_spare_clients_come_next_in_the_draw(count: int, spares: int, seed: int, absent: set[int]) -> None:
    """They and the participants are the participants of a larger sample."""
    away = frozenset(absent)
    asked = participants(seed, 3, 40, count, away)
    more = spare_clients(seed, 3, 40, count, spares, away)
    assert not set(asked) & set(more)
    assert {*asked, *more} == set(participants(seed, 3, 40, min(count + spares, 40 - len(away)), away))
