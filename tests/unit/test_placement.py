"""Actors and their fractions of a GPU."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.config import ExperimentConfig, FederationConfig
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.task_model import set_threads
from zorba_ray.federation.placement import (
    ActorSpec,
    cpus_needed,
    gpu_fraction,
    gpus_needed,
    largest_first,
    place_clients,
)

GIB = 2**30


def place(
    budgets: list[int | None], gpu_memory: int, real_gpus: int | None = None, **settings: object
) -> list[ActorSpec]:
    config = FederationConfig.model_validate({"clients": len(budgets), "gpu_memory": gpu_memory, **settings})
    return place_clients(config, budgets, real_gpus)


def actor(fraction: float, cpus: float = 0.0) -> ActorSpec:
    return ActorSpec("a", (0,), fraction, cpus)


@given(st.integers(1, 2**42), st.integers(1, 2**42))
def test_a_fraction_never_exceeds_its_share_but_for_the_smallest(budget: int, memory: int) -> None:
    budget = min(budget, memory)
    steps = Fraction(str(gpu_fraction(budget, memory))) * 10_000
    assert steps.denominator == 1
    share = Fraction(budget, memory) * 10_000
    assert steps == max(1, share.numerator // share.denominator)


def test_a_client_without_a_budget_takes_the_smallest_fraction() -> None:
    assert gpu_fraction(None, 80 * GIB) == 0.0001


@pytest.mark.parametrize("count", [3, 6, 7, 9, 11, 13])
def test_equal_shares_of_one_gpu_fit_one_gpu(count: int) -> None:
    """Seven actors at 0.1429 would need a second one."""
    specs = place([80 * GIB // count] * count, 80 * GIB, mode="pinned")
    assert len(specs) == count
    assert gpus_needed(specs) == 1
    assert gpus_needed([actor(0.1429)] * 7) == 2


def test_pinned_is_one_client_per_actor() -> None:
    specs = place([GIB, 2 * GIB, None], 8 * GIB, mode="pinned")
    assert [spec.clients for spec in specs] == [(0,), (1,), (2,)]
    assert [spec.gpu_fraction for spec in specs] == [0.125, 0.25, 0.0001]
    assert len({spec.name for spec in specs}) == 3


def test_packed_shares_out_the_clients_and_takes_the_largest_budget() -> None:
    budgets: list[int | None] = [GIB, 2 * GIB, 4 * GIB, 3 * GIB, None]
    specs = place(budgets, 8 * GIB, mode="packed", workers=2)
    assert [spec.clients for spec in specs] == [(0, 2, 4), (1, 3)]
    assert [spec.gpu_fraction for spec in specs] == [0.5, 0.375]
    assert cpus_needed(specs) >= 2


@pytest.mark.parametrize("mode", ["pinned", "packed"])
def test_every_client_has_exactly_one_actor(mode: str) -> None:
    for clients in range(1, 12):
        for workers in (1, 3, 5):
            specs = place([GIB] * clients, GIB, mode=mode, workers=workers)
            assert sorted(client for spec in specs for client in spec.clients) == list(range(clients))
            assert all(spec.clients for spec in specs), "no more workers than clients"


@pytest.mark.parametrize("mode", ["pinned", "packed"])
def test_a_budget_above_one_gpu_is_refused(mode: str) -> None:
    with pytest.raises(
        ConfigError, match=r"client 1 has a budget of 9 GiB, but a client runs on one GPU, which has 8 GiB"
    ):
        place([GIB, 9 * GIB], 8 * GIB, mode=mode)


@pytest.mark.parametrize(
    ("fractions", "gpus"),
    [
        ([], 0),
        ([0.0001] * 10_000, 1),
        ([0.0001] * 10_001, 2),
        ([0.5, 0.5, 0.5], 2),
        ([0.6, 0.6, 0.6], 3),  # the sum, 1.8, would say 2
        ([0.3, 0.7, 0.4, 0.6], 2),  # largest first: 0.7 + 0.3, 0.6 + 0.4
        ([1.0, 1.0, 0.0001], 3),
        ([0.3333, 0.3333, 0.3333, 0.0001], 1),
    ],
)
def test_whole_gpus_filled_first_fit(fractions: list[float], gpus: int) -> None:
    assert gpus_needed([actor(fraction) for fraction in fractions]) == gpus


def test_actors_on_real_gpus_fit_them() -> None:
    """An equal share of the machine's GPUs is one that can be placed: 7 actors on 2 GPUs are 4 on one of them, so the
    share is 1/4 and not 2/7; with 2/7 the seventh actor would wait for ever."""
    for gpus in range(1, 9):
        for actors in range(1, 17):
            assert gpus_needed(place([None] * actors, GIB, real_gpus=gpus, mode="pinned")) <= gpus


def test_largest_shares_are_reserved_first():
    """0.25, 0.25, 0.75, 0.75 in that order would fill one GPU to a half and leave the second 0.75 without room."""
    shares = (0.25, 0.75, 0.25, 0.75, 0.5)
    specs = [ActorSpec(str(place), (place,), share, 0.0) for place, share in enumerate(shares)]
    assert largest_first(specs) == [1, 3, 4, 0, 2]


def test_a_packed_actor_counts_its_threads_and_cpus_are_whole() -> None:
    assert cpus_needed([actor(0.1, 0.5), actor(0.1, 0.6)]) == 2
    assert cpus_needed([actor(0.1, 1.0), actor(0.1, 1.0)]) == 2
    assert [spec.cpus for spec in place([None] * 4, GIB, mode="packed", workers=2, threads=2)] == [2.0, 2.0]
    assert [spec.cpus for spec in place([None] * 2, GIB, mode="pinned", threads=2)] == [0.0, 0.0]


def test_more_threads_than_cores_are_refused_and_change_results() -> None:
    config = ExperimentConfig.model_validate({"federation": {"threads": 4096}})
    with pytest.raises(ConfigError, match=r"federation.threads=4096 exceeds the \d+ cores of this machine"):
        set_threads(config)
    assert config.digest() != ExperimentConfig().digest()
