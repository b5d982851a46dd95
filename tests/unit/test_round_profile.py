"""profile.json from readings: every part is what it is called, and the parts add up to the rounds' wall time."""

import pytest
from rich.console import Console

from zorba_ray.artifacts import Profile
from zorba_ray.experiment.profile import round_profile
from zorba_ray.federation import Usage
from zorba_ray.report.run_tables import profile_table
from zorba_ray.stopwatch import Path, Reading, Spent

ASK: Path = ("rounds", "aggregate", "ask")
HERE = Reading(
    {
        (): Spent(50.0, 50.0),
        ("start",): Spent(3.0, 2.0),
        ("start", "apply", "commit"): Spent(1.0, 1.0),
        ("rounds",): Spent(0.5, 0.5),
        ("rounds", "aggregate"): Spent(0.25, 0.25),
        ASK: Spent(1.0, 0.5),
        (*ASK, "batches"): Spent(2.0, 1.0),
        (*ASK, "forward"): Spent(8.0, 7.0),
        (*ASK, "forward", "kernels"): Spent(0.5, 0.5),
        (*ASK, "forward", "perturb"): Spent(4.0, 4.0),
        (*ASK, "forward", "commit"): Spent(0.75, 0.5),
        ("rounds", "send"): Spent(0.125, 0.125),
        ("rounds", "apply"): Spent(1.0, 1.0),
        ("rounds", "apply", "commit"): Spent(2.0, 2.0),
        ("rounds", "apply", "perturb"): Spent(0.5, 0.5),
        ("rounds", "evaluation"): Spent(3.0, 3.0),
    },
    {},
)


def seconds(profile: Profile) -> dict[str, float]:
    return {name: part.seconds for name, part in profile.parts.items() if part.seconds}


def worker(laps: dict[int, float], idle_cpu_s: float = 0.0) -> Usage:
    """A quarter of each answer is perturbing; a second of commits."""
    busy = sum(laps.values())
    parts: dict[Path, Spent] = {
        (): Spent(1000.0, idle_cpu_s),
        ("start",): Spent(9.0, 9.0),
        ("answer",): Spent(0.0, 0.0),
        ("answer", "forward"): Spent(0.75 * busy, 0.75 * busy),
        ("answer", "forward", "perturb"): Spent(0.25 * busy, 0.25 * busy),
        ("apply", "commit"): Spent(1.0, 0.5),
    }
    return Usage("w", 1, 0.0, 0, Reading(parts, laps))


def test_clients_in_the_driver_s_process_are_parts_of_its_time() -> None:
    profile = round_profile(HERE, None, 3, 6)
    assert seconds(profile) == {
        "forward": 8.0,
        "perturb": 4.0,
        "local_steps": 0.75,
        "kernels": 0.5,
        "batches": 2.0,
        "messages": 1.0,
        "aggregate": 0.25,
        "apply": 3.625,
        "evaluation": 3.0,
        "rest": 0.5,
    }
    assert (profile.rounds.first, profile.rounds.last, profile.rounds.count) == (3, 6, 4)
    assert (profile.workers, profile.start_s, profile.wall_s) == (None, 4.0, 23.625)
    assert profile.parts["forward"].seconds_per_round == 2.0
    assert profile.parts["forward"].share == 8.0 / 23.625
    assert profile.cpu_s == sum(part.cpu_s for part in profile.parts.values()) == 20.875


def test_waiting_for_workers_is_their_mean_imbalance_and_ray() -> None:
    """Of 20 s of waiting: the slowest took 6 + 8 s (its own 14 in the second worker), the mean of both is 11 s."""
    driver = Reading({ASK: Spent(20.0, 0.25), ("rounds", "send"): Spent(1.0, 0.5), ("rounds",): Spent(2.0, 2.0)}, {})
    profile = round_profile(driver, [worker({1: 6.0, 2: 2.0}), worker({1: 6.0, 2: 8.0}, 0.125)], 1, 2)
    assert seconds(profile) == {
        "forward": 0.75 * 11,
        "perturb": 0.25 * 11,
        "imbalance": 14.0 - 11.0,
        "ray": 20.0 - 14.0 + 1.0,
        "rest": 2.0,
    }
    assert profile.wall_s == 23.0
    assert profile.workers == 2
    assert profile.parts["forward"].cpu_s == 0.75 * 22
    assert profile.parts["ray"].cpu_s == 0.25 + 0.5 + 0.125
    assert profile.cpu_s == 22.0 + 0.875 + 2.0 + 1.0


def test_waiting_for_a_probe_is_waiting_and_not_work_of_the_driver() -> None:
    """In one process it is the clients' own work; of workers, their work and Ray's."""
    probe: Path = ("rounds", "assignment", "ask")
    dealing = {("rounds", "assignment"): Spent(0.5), probe: Spent(1.0), ASK: Spent(5.0)}
    here = round_profile(Reading({**dealing, (*probe, "forward"): Spent(4.0)}, {}), None, 1, 1)
    assert seconds(here) == {"assignment": 0.5, "messages": 6.0, "forward": 4.0}
    there = round_profile(Reading(dealing, {}), [worker({1: 4.0})], 1, 1)
    assert seconds(there) == {"assignment": 0.5, "forward": 3.0, "perturb": 1.0, "ray": 2.0}


def test_a_worker_without_work_in_a_round_counts_as_waiting() -> None:
    driver = Reading({ASK: Spent(5.0)}, {})
    profile = round_profile(driver, [worker({1: 4.0}), worker({})], 1, 1)
    assert seconds(profile) == {"forward": 1.5, "perturb": 0.5, "imbalance": 2.0, "ray": 1.0}


def test_an_answer_that_outlasts_its_deadline_takes_no_more_than_the_waiting() -> None:
    driver = Reading({ASK: Spent(5.0)}, {})
    profile = round_profile(driver, [worker({1: 20.0})], 1, 1)
    assert seconds(profile) == {"forward": 3.75, "perturb": 1.25}
    assert profile.wall_s == 5.0


@pytest.mark.parametrize("usage", [[], [Usage("gone", 1, 0.0, 0)]], ids=["no worker", "a worker without a reading"])
def test_workers_that_tell_nothing_leave_their_time_to_ray(usage: list[Usage]) -> None:
    profile = round_profile(Reading({ASK: Spent(5.0)}, {}), usage, 1, 1)
    assert seconds(profile) == {"ray": 5.0}
    assert profile.workers == 0


def test_no_round_at_all() -> None:
    profile = round_profile(Reading({("start",): Spent(1.0)}, {}), None, 4, 3)
    assert profile.rounds.count == 0
    assert profile.parts["forward"].seconds_per_round is None
    assert profile.parts["forward"].share == 0.0
    assert "forward passes" not in shown(profile)


def test_the_table_shows_what_took_time() -> None:
    text = shown(round_profile(HERE, None, 3, 6))
    assert "Rounds 3–6 in one process" in text
    row = next(line for line in text.splitlines() if "forward passes" in line)
    assert [cell.strip() for cell in row.split("│")[2:6]] == ["8.0 s", "2.0 s", "33.9 %", "7.0 s"]
    assert "Ray" not in text


def shown(profile: Profile) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(profile_table(profile).terminal(120))
    return capture.get()
