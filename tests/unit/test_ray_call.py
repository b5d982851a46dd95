"""Rounds on actors that die, hang and come back, on a clock of their own: who answers, and how long a round takes."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_ray import FakeActor, FakeRay
from zorba_ray.errors import ClusterError
from zorba_ray.federation import ray_call, worker_pool
from zorba_ray.federation.backend import Answer, Failure
from zorba_ray.federation.ray_call import RoundCall
from zorba_ray.federation.worker_pool import START_S, WorkerPool

CLIENTS = 8
START, SECOND = 10.0, 0.1
"""Seconds of an actor's start, and of a client's answer."""


class Federation:
    """Eight clients on some actors."""

    def __init__(self, actors: int, shared: bool, deadline_s: float = 20.0, quorum: float = 0.5) -> None:
        self.ray = FakeRay()
        clock = SimpleNamespace(monotonic=self.ray.monotonic, sleep=self.ray.sleep)
        self._patch = pytest.MonkeyPatch()
        for module in (ray_call, worker_pool):
            self._patch.setattr(module, "ray", self.ray)
            self._patch.setattr(module, "time", clock)
        self.actors = [FakeActor(self.ray, START, SECOND) for _ in range(actors)]
        self._settings = (deadline_s, quorum, 3)
        self.round = 0
        self.pool = WorkerPool(self.actors, {client: client % actors for client in range(CLIENTS)}, shared, self._send)
        self.retried = 0

    def __enter__(self) -> "Federation":
        self.pool.start([f"actor-{number}" for number in range(len(self.actors))])
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.undo()

    def _send(self, actor: int, position: int) -> int:
        if position < self.round:
            self.actors[actor].send(self.round)
        return self.round

    def play(
        self, *faults: tuple[float, Callable[[], None]], enough: int | None = None
    ) -> tuple[dict[int, Answer], float]:
        """A round with faults some seconds after its begin: answers, and its seconds."""
        began = self.ray.now
        for after, fault in faults:
            self.ray.at(began + after, fault)
        call = RoundCall(self.pool, b"plan", range(CLIENTS), *self._settings, enough)
        answers = call.run()
        self.retried += call.retried
        seconds = self.ray.now - began
        self.round += 1
        for actor in self.actors:
            actor.apply(self.round)
        return answers, seconds


def reports(answers: dict[int, Answer]) -> int:
    for client, answer in answers.items():
        assert isinstance(answer, Failure) or answer == b"plan" + bytes([client])
    assert sorted(answers) == list(range(CLIENTS))
    return sum(isinstance(answer, bytes) for answer in answers.values())


@pytest.mark.parametrize("shared", [True, False])
def test_an_undisturbed_round(shared: bool) -> None:
    with Federation(2, shared) as federation:
        answers, seconds = federation.play()
        assert (reports(answers), federation.retried) == (8, 0)
        assert seconds == pytest.approx(4 * SECOND)


def test_a_slow_start_is_no_part_of_a_deadline() -> None:
    """Neither the model nor clients and commits, which take half a second: the first round has all reports."""
    with Federation(2, True, deadline_s=0.45) as federation:
        assert federation.ray.now > 100 + START
        assert reports(federation.play()[0]) == 8


def test_clients_of_a_dead_actor_are_asked_on_the_others() -> None:
    """The round takes as long as the work takes on one actor, not as long as a start."""
    with Federation(2, True) as federation:
        answers, seconds = federation.play((0.15, federation.actors[0].die))
        assert (reports(answers), federation.retried) == (8, 4)
        assert seconds == pytest.approx(8 * SECOND)
        later = [federation.play() for _ in range(40)]
        assert all(reports(answers) == 8 for answers, _ in later)
        assert later[-1][1] == pytest.approx(4 * SECOND), "it is back, and has its clients again"


def test_a_pinned_actor_is_waited_for() -> None:
    """Nobody else may serve its clients; a death costs no report while the deadline allows a start."""
    with Federation(2, False) as federation:
        answers, seconds = federation.play((0.15, federation.actors[0].die))
        assert reports(answers) == 8
        assert START < seconds < START + 3


@pytest.mark.parametrize("shared", [True, False])
def test_a_hung_actor_costs_one_deadline(shared: bool) -> None:
    """Pinned: then rounds end soon after the others, until it is back. Packed: then the others serve its clients."""
    with Federation(2, shared, deadline_s=5.0) as federation:
        answers, seconds = federation.play((0.05, federation.actors[0].hang))
        assert reports(answers) == 4
        assert seconds == pytest.approx(5.0)
        assert {answer.kind for answer in answers.values() if isinstance(answer, Failure)} == {"late"}
        rounds = [federation.play() for _ in range(40)]
        assert max(seconds for _, seconds in rounds) <= 12 * SECOND + 0.01, "others, grace, and its own clients"
        assert reports(rounds[0][0]) == (8 if shared else 4)
        assert reports(rounds[-1][0]) == 8, "it never came back"
        assert federation.actors[0].deaths == 1


def test_without_a_quorum_a_round_waits_for_those_that_come_back() -> None:
    with Federation(2, False, deadline_s=15.0, quorum=1.0) as federation:
        federation.play((0.05, federation.actors[0].hang))
        answers, seconds = federation.play()
        assert reports(answers) == 8
        assert START < seconds < 15


def test_a_client_that_kills_its_actors_takes_nobody_with_it() -> None:
    """It is asked alone after its first kill, and fails after federation.retries more."""
    with Federation(2, True, deadline_s=120.0) as federation:
        for actor in federation.actors:
            actor.deadly = {3}
        answers, _ = federation.play()
        assert reports(answers) == 7
        failure = answers[3]
        assert isinstance(failure, Failure)
        assert failure.reason == "its actor was lost 4 times, federation.retries=3"


def test_spare_clients_save_the_deadline() -> None:
    """Eight actors, one client each: six reports are needed. A slow actor is passed by, not started again."""
    with Federation(8, False) as federation:
        answers, seconds = federation.play(enough=6)
        assert seconds <= SECOND + 0.001, "the participants are there, so nobody waits for a spare client"
        answers, seconds = federation.play((0.05, federation.actors[0].hang), enough=6)
        assert reports(answers) == 7
        assert seconds == pytest.approx(2 * SECOND)
        federation.actors[0].wake()
        federation.play(enough=6)
        assert reports(federation.play()[0]) == 8
        assert not any(actor.deaths for actor in federation.actors)


def test_all_actors_lost_at_once() -> None:
    with Federation(3, True) as federation:
        answers, seconds = federation.play(*[(0.15, actor.die) for actor in federation.actors])
        assert reports(answers) == 8
        assert START < seconds < START + 3


def test_an_actor_that_never_starts_is_named() -> None:
    federation = Federation(2, True)
    federation.actors[1].die()
    federation.ray.at(federation.ray.now + 1, lambda: setattr(federation.actors[1], "_life", 99))
    with pytest.raises(ClusterError, match=rf"actor-1 did not start within {START_S:.0f} s"), federation:
        pass
    federation.__exit__()


FAULTS = st.lists(
    st.tuples(st.floats(0.0, 12.0), st.integers(0, 3), st.sampled_from(["die", "hang"])), max_size=4
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(FAULTS, min_size=1, max_size=6), st.booleans(), st.sampled_from([3.0, 15.0, 40.0]))
def test_whatever_happens_a_round_ends_in_time(rounds: list[Any], shared: bool, deadline_s: float) -> None:
    """Every client has one answer, a true one or a reason, by the deadline; after quiet rounds all are back."""
    with Federation(4, shared, deadline_s) as federation:
        for faults in rounds:
            answers, seconds = federation.play(
                *[(after, getattr(federation.actors[actor], kind)) for after, actor, kind in faults]
            )
            assert seconds <= deadline_s + 0.01
            if not any(kind == "hang" for faults in rounds for _, _, kind in faults) and deadline_s == 40.0:
                assert reports(answers) == CLIENTS, "a death costs time, not reports"
            reports(answers)
        federation.ray.sleep(START_S)  # one that hung while it was starting is then started again
        for _ in range(12):
            federation.play()
            federation.ray.sleep(3.0)
        assert reports(federation.play()[0]) == CLIENTS
