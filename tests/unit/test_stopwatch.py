"""Time is charged to the innermost open part, all of it and once."""

import pickle

import pytest

from zorba_ray import stopwatch
from zorba_ray.stopwatch import Spent, Stopwatch, Watch, watch_if


class Clock:
    """Wall time as the test sets it; CPU time is half of it."""

    def __init__(self) -> None:
        self.wall = 100.0

    def __call__(self) -> tuple[float, float]:
        return self.wall, self.wall / 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "_now", clock)
    return clock


def test_a_part_is_charged_without_what_is_inside_it(clock: Clock) -> None:
    watch = Stopwatch()
    clock.wall += 1
    with watch.part("outer"):
        clock.wall += 2
        for _ in range(2):
            with watch.part("inner"):
                clock.wall += 4
        clock.wall += 8
    clock.wall += 16
    reading = watch.read()
    assert reading.parts == {(): Spent(17, 8.5), ("outer",): Spent(10, 5), ("outer", "inner"): Spent(8, 4)}
    assert sum((spent for spent in reading.parts.values()), Spent()) == Spent(35, 17.5)


def test_a_lap_is_the_whole_of_its_parts_added_up(clock: Clock) -> None:
    watch = Stopwatch()
    for number, seconds in ((3, 1), (3, 2), (4, 4)):
        with watch.part("answer", lap=number):
            clock.wall += seconds
            with watch.part("inner"):
                clock.wall += 10
    assert watch.read().laps == {3: 23, 4: 14}


def test_an_error_closes_its_parts(clock: Clock) -> None:
    watch = Stopwatch()

    def fail() -> None:
        clock.wall += 1
        raise KeyError

    with pytest.raises(KeyError), watch.part("outer"), watch.part("inner"):
        fail()
    clock.wall += 2
    assert watch.read().parts[()] == Spent(2, 1)
    assert watch.read().parts["outer", "inner"] == Spent(1, 0.5)


def test_a_reading_stays_and_travels(clock: Clock) -> None:
    watch = Stopwatch()
    clock.wall += 1
    reading = watch.read()
    clock.wall += 1
    assert reading.parts[()].wall_s == 1
    assert pickle.loads(pickle.dumps(watch.read())).parts[()].wall_s == 2


def test_who_does_not_profile_reads_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "_now", lambda: pytest.fail("the clock was read"))
    watch = watch_if(False)
    with watch.part("outer"), watch.part("inner", lap=1):
        pass
    assert type(watch) is Watch
    assert watch.read() is None
