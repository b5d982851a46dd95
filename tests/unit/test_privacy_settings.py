"""Settings of `privacy`: what would tell more than noisy scalars, or cannot be kept, is refused by name."""

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.assignment import FleetSchedule
from zorba_ray.config import ExperimentConfig, load_config, load_method, method_names
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.privacy import last_private_round, most_asked, noise_for, rounds_asked
from zorba_ray.privacy import epsilon_of

PRIVATE = ("privacy.clip=1", "privacy.target_epsilon=8")


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        tiny_config(*overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("privacy.target_epsilon=8",), "clip is not set: without a bound on a report no noise hides it"),
        (("privacy.clip=1",), "neither noise_multiplier nor target_epsilon is set"),
        ((*PRIVATE, "privacy.delta=0.25"), "privacy.delta=0.25 with federation.clients=4"),
        ((*PRIVATE, "zo.clip=3"), "zo.clip=3 with privacy.clip=1"),
        ((*PRIVATE, "zo.scope=auto"), "zo.scope=auto with privacy: a probe asks clients"),
        ((*PRIVATE, "allocation.block_weights=probe"), "allocation.block_weights=probe with privacy"),
        ((*PRIVATE, "data.label_shift=1"), "data.label_shift=1 with privacy"),
        ((*PRIVATE, "data.batch_tokens=100"), "data.batch_tokens=100 with privacy"),
        ((*PRIVATE, "method=fedkseed", "zo.schedule=constant"), "take method=zorba or decomfl"),
        ((*PRIVATE, "method=tests.methods.feedsign", "federation.seeds=shared"), "privacy with method=tests.methods"),
        (("privacy.clip=0", "privacy.target_epsilon=8"), "privacy.clip"),
        (("privacy.clip=1", "privacy.noise_multiplier=501"), "less than or equal to 500"),
        (("privacy.clip=1", "privacy.epsilon=8"), "did you mean privacy.target_epsilon?"),
        (("privacy.clip=1", "privacy.sigma=8"), "did you mean privacy.noise_multiplier?"),
    ],
)
def test_refused(overrides: tuple[str, ...], said: str) -> None:
    assert said in refusal(*overrides)


def test_only_methods_that_say_so_themselves_can_be_private() -> None:
    private = {name for name in method_names() if load_method(name).scalar_reports}
    assert private == {"zorba", "decomfl"}


def test_no_privacy_is_no_change() -> None:
    assert "privacy" not in tiny_config().numbers()
    assert "privacy.secret_file" not in tiny_config(*PRIVATE, "privacy.secret_file=a").numbers()
    assert tiny_config(*PRIVATE).digest() != tiny_config(*PRIVATE, "privacy.delta=1e-6").digest()


def noise_of(own: ExperimentConfig) -> float:
    noise = noise_for(own, FleetSchedule(own))
    assert noise is not None
    return noise.multiplier


def test_a_target_needs_noise_by_how_often_a_client_is_asked() -> None:
    always = noise_of(tiny_config(*PRIVATE, "rounds=400"))
    assert noise_of(tiny_config(*PRIVATE, "rounds=100")) == pytest.approx(always / 2, rel=1e-3)
    some = tiny_config(*PRIVATE, "rounds=400", "federation.participants=1")
    most = most_asked(some, FleetSchedule(some), 400)[-1]
    assert noise_of(some) == pytest.approx(always * (most / 400) ** 0.5, rel=1e-3)


def test_spare_clients_are_asked_too() -> None:
    own = tiny_config(*PRIVATE, "federation.participants=1", "federation.spares=2")
    assert [int(counts.sum()) for counts in rounds_asked(own, FleetSchedule(own), 5)] == [0, 3, 6, 9, 12, 15]


def test_who_left_is_not_asked() -> None:
    changes = 'federation.changes=[{"round": 5, "client": 2, "present": false}]'
    own = tiny_config(*PRIVATE, "rounds=10", changes)
    *_, counts = rounds_asked(own, FleetSchedule(own), 10)
    assert counts.tolist() == [10, 10, 4, 10]
    assert most_asked(own, FleetSchedule(own), 10) == list(range(11))


def test_a_target_that_cannot_be_kept() -> None:
    own = tiny_config("privacy.clip=1", "privacy.target_epsilon=0.05", "rounds=100000")
    with pytest.raises(ConfigError, match=r"target_epsilon=0.05.*100,000 times.*reaches ε = .*fewer rounds"):
        noise_for(own, FleetSchedule(own))
    own = tiny_config("privacy.clip=1", "privacy.target_epsilon=1", "privacy.noise_multiplier=1")
    with pytest.raises(ConfigError, match=r"the first round alone spends ε = 10"):
        last_private_round(own, FleetSchedule(own), noise_for(own, FleetSchedule(own)))


def test_the_last_round_is_the_last_that_keeps_the_target() -> None:
    for participants in ("null", "2"):
        own = tiny_config("rounds=60", f"federation.participants={participants}", "privacy.clip=1",
                          "privacy.noise_multiplier=5", "privacy.target_epsilon=10")  # fmt: skip
        fleet = FleetSchedule(own)
        last = last_private_round(own, fleet, noise_for(own, fleet))
        most = most_asked(own, fleet, 60)
        assert epsilon_of(5.0, most[last], 1e-5) <= 10 < epsilon_of(5.0, most[last + 1], 1e-5)
    solved = tiny_config(*PRIVATE, "rounds=60", "federation.participants=2")
    assert last_private_round(solved, FleetSchedule(solved), noise_for(solved, FleetSchedule(solved))) == 60


def test_noise_for_a_target_is_that_of_a_fixed_number_of_rounds() -> None:
    solved = load_config("demo", [*PRIVATE, "zo.schedule=constant"])
    assert solved.fixed_length == "privacy.target_epsilon=8"
    fixed = load_config("demo", [*PRIVATE, "zo.schedule=constant", "privacy.noise_multiplier=3"])
    assert fixed.fixed_length is None
