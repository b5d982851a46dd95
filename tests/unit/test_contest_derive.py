"""What each method of a comparison is given: one pure function from zorba's configuration."""

from typing import Any

import pytest

from tests.support.tiny_run import TINY, tiny_config
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.config.baselines import FIRST_ORDER, PUBLISHED
from zorba_ray.contest.derive import (
    BACKWARD,
    asked,
    budget_of,
    is_central,
    method_config,
    passes_per_round,
    rate_key,
    rate_of,
)
from zorba_ray.contest.plan import plan_contest
from zorba_ray.contest.rates import DEFAULT, chosen, rates_of
from zorba_ray.contest.records import Try
from zorba_ray.contest.settings import TUNING_SEED, ContestSettings, make_settings, require_zorbas, split_overrides
from zorba_ray.errors import ConfigError
from zorba_ray.methods import METHODS

# 1,000 forward passes of a client: every method's round fits.
BASE = tiny_config("rounds=250", "zo.directions=2", "eval.every=25", "data.alpha=0.5", "federation.participants=3")


def value(config: ExperimentConfig, key: str) -> Any:
    node: Any = config.resolved()
    for part in key.split("."):
        node = node[part]
    return node


def settings(**given: Any) -> ContestSettings:
    return ContestSettings(methods=tuple(METHODS), seeds=2, **given)


@pytest.mark.parametrize("method", METHODS)
def test_data_model_clients_and_seed_are_the_same(method: str) -> None:
    config = method_config(BASE, method, 5)
    assert (config.method, config.seed) == (method, 5)
    published = {key.split(".")[0] for key in PUBLISHED[method]}
    for section in {"data", "model", "memory"} - published:
        assert getattr(config, section) == getattr(BASE, section)
    batch = PUBLISHED[method].get("data.batch_size", BASE.data.batch_size)
    assert config.data == BASE.data.model_copy(update={"batch_size": batch})
    if not is_central(method):
        assert config.federation.clients == BASE.federation.clients
        assert config.federation.participants == BASE.federation.participants


@pytest.mark.parametrize("method", [name for name in METHODS if name != "zorba"])
def test_what_defines_a_method_is_as_published(method: str) -> None:
    config = method_config(BASE, method, 1)
    for key, published in PUBLISHED[method].items():
        found = value(config, key)
        # LoRA's targets are not published and have a default.
        assert found == published or found.items() >= published.items()
    assert config.federation.fleet is None
    # Nothing of zorba's own step is carried over.
    assert config.zo.scope == PUBLISHED[method].get("zo.scope", "all") != BASE.zo.scope


def test_zorba_keeps_all_its_settings() -> None:
    demo = load_config("demo")
    config = method_config(demo, "zorba", 4, rate=0.02)
    assert config.federation.fleet == demo.federation.fleet
    same = {"name": config.name, "seed": 4, "zo": demo.zo.model_copy(update={"lr": 0.02})}
    assert config == demo.model_copy(update={**same, "federation": config.federation})
    assert config.federation == demo.federation.model_copy(update={"backend": "sequential"})


@pytest.mark.parametrize("method", METHODS)
def test_passes_are_equal_up_to_a_round(method: str) -> None:
    config = method_config(BASE, method, 1)
    each, may = passes_per_round(config), budget_of(BASE, method)
    assert may == 1000 * (3 if is_central(method) else 1)  # three participants
    assert 0 <= may - each * config.rounds < each
    assert each == config.passes_per_round * (BACKWARD if method in FIRST_ORDER else 1)
    # Ten evaluations, as zorba has.
    assert config.rounds < 20 or 9 <= config.rounds / config.eval.every <= 11


def test_passes_by_hand() -> None:
    """decomfl: five forward differences are six passes; 1,000 // 6 = 166 rounds and four passes are left."""
    decomfl, mezo = method_config(BASE, "decomfl", 1), method_config(BASE, "mezo", 1)
    assert (passes_per_round(decomfl), decomfl.rounds, decomfl.eval.every) == (6, 166, 17)
    assert (passes_per_round(mezo), mezo.rounds, mezo.federation.clients) == (2, 1500, 1)
    assert mezo.federation.participants is None
    assert method_config(BASE, "decomfl", 1, budget=60).rounds == 10
    assert method_config(BASE, "decomfl", 1, share=0.25).rounds == 42
    assert asked(BASE) == 3
    assert asked(tiny_config("federation.participants=0.5")) == 2
    assert asked(tiny_config()) == 4


def test_a_budget_below_one_round_is_refused() -> None:
    with pytest.raises(ConfigError, match="decomfl makes 6 forward passes of a client in a round, and the budget is 5"):
        method_config(BASE, "decomfl", 1, budget=5)


def test_a_methods_own_settings() -> None:
    config = method_config(BASE, "decomfl", 1, overrides=["zo.scope=bias_norm", "zo.directions=3"])
    assert (config.zo.scope, config.zo.directions, config.rounds) == ("bias_norm", 3, 250)
    with pytest.raises(ConfigError, match=r"compare, decomfl.*\n.*zo.scop"):
        method_config(BASE, "decomfl", 1, overrides=["zo.scop=all"])


@pytest.mark.parametrize("method", METHODS)
def test_rates(method: str) -> None:
    ladder = rates_of(BASE, method, settings())
    middle = BASE.zo.lr if method == "zorba" else DEFAULT[method]
    assert ladder == tuple(float(f"{middle * factor:.3g}") for factor in (1 / 3, 1, 3))
    assert rates_of(BASE, method, settings(tuning=False)) == (middle,)
    # As many tries for zorba as for the method with the longest list.
    assert len(rates_of(BASE, method, settings(rates={"decomfl": (1e-4, 2e-4, 3e-4, 4e-4)}))) == 4
    own = settings(overrides={method: (f"{rate_key(method)}=0.007",)}, tuning=False)
    assert rates_of(BASE, method, own) == (0.007,)
    assert rate_of(method_config(BASE, method, 1, rate=0.123)) == 0.123


def test_the_chosen_rate() -> None:
    def tried(rate: float, loss: float | None, status: Any = "finished") -> Try:
        return Try(rate=rate, run="", rounds=1, loss=loss, status=status)

    assert chosen([tried(1.0, 0.5), tried(2.0, 0.4), tried(3.0, 0.4)]) == 2.0
    assert chosen([tried(1.0, 0.5), tried(2.0, None, "diverged")]) == 1.0
    assert chosen([tried(2.0, None, "diverged")]) is None


def test_a_plan() -> None:
    plan = plan_contest(BASE, settings(), ["typed"], "now")
    assert [(cell.seed, cell.method) for cell in plan.cells] == [(seed, name) for seed in (1, 2) for name in METHODS]
    assert plan.tuning_seed == TUNING_SEED not in {cell.seed for cell in plan.cells}
    runs = [cell.run for cell in plan.cells] + [one.run for each in plan.contestants for one in each.tries]
    assert len(set(runs)) == len(runs) == 5 * len(METHODS)
    decomfl = plan.contestant("decomfl")
    assert (decomfl.rounds, decomfl.left_over, [one.rounds for one in decomfl.tries]) == (166, 4, [42, 42, 42])
    assert decomfl.settings["zo.difference"] == "forward"
    assert plan.largest_budget_bytes is None
    assert plan_contest(load_config("demo"), make_settings("zorba", 1), [], "").largest_budget_bytes == 6142000


def test_what_was_typed() -> None:
    assert split_overrides(["zo.lr=1", "mezo:zo.lr=2", "data.prompt='{text}: so'"]) == (
        ["zo.lr=1", "data.prompt='{text}: so'"],
        ["mezo:zo.lr=2"],
    )
    found = make_settings("zorba, mezo", 2, ["mezo:zo.lr=2"], ["mezo=3e-4,1e-4"], 10, targets="0.9,0.8")
    assert (found.methods, found.rates, found.targets) == (("zorba", "mezo"), {"mezo": (1e-4, 3e-4)}, (0.9, 0.8))
    assert found.overrides == {"mezo": ("zo.lr=2",)}
    assert found.tries == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": "zorba,fedprox"}, "unknown method 'fedprox'"),
        ({"methods": "zorba,decomf"}, "did you mean decomfl"),
        ({"methods": "zorba,"}, "unknown method ''"),
        ({"methods": "mezo,zorba,mezo"}, "mezo stands twice"),
        ({"seeds": 0}, "--seeds 0"),
        ({"budget": 0}, "--budget 0"),
        ({"tuning_share": 0.0}, "--tuning-share 0"),
        ({"targets": "low"}, "--targets: numbers"),
        ({"targets": "nan"}, "--targets: numbers must be finite"),
        ({"rates": ["mezo"]}, "METHOD=RATE"),
        ({"rates": ["decomfl=1"]}, "decomfl is not among --methods"),
        ({"rates": ["mezo=0,1"]}, "positive"),
        ({"rates": ["mezo=1,1"]}, "stands once"),
        ({"rates": ["mezo=1,2", "zorba=1"]}, "as many tries"),
        ({"rates": ["mezo=1", "mezo=2"]}, "stands twice"),
        ({"rates": ["mezo=1,2"], "tuning": False}, "--no-tuning"),
        ({"overrides": ["decomfl:zo.lr=1"]}, "decomfl is not among --methods"),
        ({"overrides": ["mezo:zo.lr"]}, "key=value"),
    ],
    ids=str,
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_settings(**{"methods": "zorba,mezo", "seeds": 2, **given})


def test_only_zorbas_own_configuration() -> None:
    with pytest.raises(ConfigError, match="method=mezo: a comparison starts from zorba's"):
        require_zorbas(load_config("demo", [*TINY, "method=mezo", "federation.clients=1"]))
    with pytest.raises(ConfigError, match=r"federation\.changes"):
        require_zorbas(tiny_config("federation.changes=[{round: 2, client: 0, leave: true}]"))
