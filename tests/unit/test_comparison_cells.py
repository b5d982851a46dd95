"""How a comparison's runs are derived, what is refused, and how means and intervals are made."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.artifacts.campaigns import ComparisonCell
from zorba_ray.campaigns.comparison import ComparisonPlan, ladder_of, open_comparison, plan_comparison
from zorba_ray.campaigns.comparison.cells import planned_run, rounds_for
from zorba_ray.campaigns.comparison.run import check_inputs
from zorba_ray.config import ExperimentConfig, method_names
from zorba_ray.errors import ConfigError, RunDirError
from zorba_ray.experiment.build import prepare
from zorba_ray.zo.ladder import best_rate, rate_beyond

BASE = ("rounds=20", "zo.directions=3", "zo.difference=central", "eval.every=5", "zo.lr=0.02", "seed=7")


def compared(
    methods: tuple[str, ...] = method_names(), seeds: int = 2, base: Any = None, **changes: Any
) -> ComparisonPlan:
    given: dict[str, Any] = {"rates": {}, "tune_share": 0.25, "overrides": {}} | changes
    return plan_comparison(base or tiny_config(*BASE), methods, seeds, **given)


def derived(method: str, **changes: Any) -> ExperimentConfig:
    return planned_run(compared(**changes), method, 7, 0.01, tuning=False).config


def test_zorba_keeps_its_configuration() -> None:
    own = derived("zorba")
    assert own.numbers() == tiny_config(*BASE, "zo.lr=0.01").numbers()


def test_privacy_is_that_of_all_or_the_comparison_is_refused() -> None:
    base = tiny_config(*BASE, "privacy.clip=1", "privacy.target_epsilon=8")
    plan = compared(("zorba", "decomfl"), base=base)
    for method in plan.methods:
        assert planned_run(plan, method, 7, 0.01, tuning=True).config.privacy == base.privacy
    with pytest.raises(ConfigError, match="privacy with method=mezo: noise is put on reports"):
        compared(("zorba", "mezo"), base=base)
    with pytest.raises(ConfigError, match="privacy is the same for all methods"):
        compared(("zorba", "decomfl"), base=base, overrides={"decomfl": ("privacy.clip=2",)})


@pytest.mark.parametrize("method", method_names())
def test_what_all_methods_share(method: str) -> None:
    base, own = tiny_config(*BASE), derived(method)
    assert own.method == method
    assert own.data == base.data
    assert own.seed == 7
    assert own.federation.clients == (1 if own.spec.central else base.federation.clients)
    assert own.model.path == base.model.path
    assert 3 <= own.rounds // own.eval.every <= 10 or own.rounds < 4


@pytest.mark.parametrize("method", method_names())
def test_spare_clients_are_kept(method: str) -> None:
    base = tiny_config(*BASE, "federation.participants=2", "federation.spares=1")
    own = derived(method, base=base)
    assert own.federation.spares == (0 if own.spec.central else 1)


@pytest.mark.parametrize(
    ("method", "rounds", "cost"),
    # 20 rounds of 3 pairs: 120 passes a client.
    [("zorba", 20, 6), ("decomfl", 20, 6), ("fedkseed", 10, 12), ("fedmezo", 10, 12), ("mezo", 240, 2),
     ("fedit", 10, 12), ("fedavg", 10, 12), ("adamw", 10, 48)],
)  # fmt: skip
def test_every_client_makes_the_same_passes(method: str, rounds: int, cost: int) -> None:
    """decomfl: 5 one-sided differences are 6 passes; backpropagation counts three a step; a central client
    makes those of all four."""
    own = derived(method)
    assert own.rounds == rounds
    assert own.passes_per_round * (3 if own.spec.backward else 1) == own.cost_per_round == cost
    assert rounds * cost <= 120 * (4 if own.spec.central else 1)


def test_published_settings_hold_and_a_setting_of_ones_own_wins() -> None:
    assert derived("decomfl").federation.seeds == "shared"
    assert derived("decomfl").zo.difference == "forward"
    assert derived("fedkseed").zo.schedule == "constant"
    assert derived("fedkseed").method_settings.model_dump()["pool"] == 4096
    model = derived("fedmezo").model
    assert model.lora is not None
    assert model.lora.rank == 128
    own = derived("decomfl", overrides={"decomfl": ("zo.directions=10",)})
    assert (own.zo.directions, own.rounds) == (10, 120 // 11)


def test_rates_are_judged_in_a_share_of_the_rounds_on_a_seed_of_their_own() -> None:
    own = planned_run(compared(), "zorba", 1007, 0.5, tuning=True)
    # A quarter of the rounds: twice the rate.
    assert (own.config.rounds, own.config.seed, own.config.zo.lr, own.rate) == (5, 1007, 1.0, 0.5)
    assert own.path == "zorba/rate-0.5"
    assert planned_run(compared(), "fedit", 8, 0.5, tuning=False).path == "fedit/seed-8"
    assert planned_run(compared(), "fedit", 8, 0.5, tuning=False).config.method_settings.model_dump()["lr"] == 0.5


def test_ladders() -> None:
    """With 100 times more parameters a tenth of the rate; and by the scalars of a step: 5 · 4, 1 · 4 or 1 for 3 · 4."""

    def sizes(config: ExperimentConfig) -> int:
        return {"bias_norm": 100, "all": 10_000, "lora": 400}[config.zo.fixed_scope]

    assert ladder_of(compared(), "zorba", sizes) == (0.00667, 0.02, 0.06)
    assert ladder_of(compared(), "decomfl", sizes) == (0.00111, 0.00333, 0.01)
    assert ladder_of(compared(), "fedmezo", sizes) == (0.00111, 0.00333, 0.01)
    assert ladder_of(compared(), "mezo", sizes) == (5.56e-05, 0.000167, 0.0005)
    assert ladder_of(compared(), "fedit", sizes) == (0.0001, 0.0003, 0.0009)
    assert ladder_of(compared(rates={"decomfl": (0.5,)}), "decomfl", sizes) == (0.5,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("zorba", "fedprox")}, "fedprox: unknown method; known methods are"),
        ({"methods": ()}, "no method; name one or more"),
        ({"methods": ("zorba", "mezo", "zorba")}, "zorba stands twice"),
        ({"seeds": 0}, "--seeds 0"),
        ({"tune_share": 0.0}, "--tune-share 0"),
        ({"tune_share": 1.5}, "--tune-share 1.5"),
        ({"methods": ("zorba",), "rates": {"mezo": (0.1,)}}, "mezo is not in the comparison"),
        ({"rates": {"mezo": (0.1, -1.0)}}, "one or more positive rates"),
        ({"rates": {"mezo": (float("nan"),)}}, "one or more positive rates"),
        ({"rates": {"mezo": (0.1, float("inf"))}}, "one or more positive rates"),
        ({"rates": {"mezo": (0.1, 0.1000000001)}}, "two rates are equal"),
        ({"seeds": 10**9}, "--seeds 1000000000: must be 1 to 1,000"),
        ({"base": tiny_config("seed=18446744073709551615")}, "seed"),
        ({"base": tiny_config("federation.changes=[{round: 2, client: 0, present: false}]")}, "cannot change clients"),
        *[
            ({"overrides": {"decomfl": (setting,)}}, message)
            for setting, message in (
                ("seed=7", "is the same for all methods"),
                ("method=fedavg", "is the same for all methods"),
                ("zo.lr=5", "is the same for all methods"),
                ("data.train_rows=10", "is the same for all methods"),
                ("federation.clients=2", "is the same for all methods"),
                ("model.temperature=5", "model is the same for all methods"),
                ("rounds=50", "the comparison determines this"),
                ("eval.every=1", "the comparison determines this"),
            )
        ],
        ({"overrides": {"decomfl": ("federation.seeds=per_client",)}}, "decomfl averages scalars"),
        ({"base": tiny_config("method=decomfl", "federation.seeds=shared")}, "method=decomfl: a comparison starts"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compared(**changes)


def test_rounds_are_never_none() -> None:
    small = compared(base=tiny_config("rounds=1", "zo.directions=1"))
    own = planned_run(small, "fedavg", 1, 0.1, tuning=True).config
    assert own.rounds == rounds_for(small, own) == 1


def test_a_folder_is_taken_up_only_by_the_same_comparison(tmp_path: Path) -> None:
    path = tmp_path / "compare"
    open_comparison(path, compared(), False, ["zorba-ray", "compare"])
    begun = open_comparison(path, compared(), False, [])  # nothing had run in it
    (path / "zorba" / "seed-7").mkdir(parents=True)
    (path / "zorba" / "seed-7" / "ledger.zl").write_bytes(b"")  # a run was killed in it
    with pytest.raises(RunDirError, match="exists: continue it with --resume"):
        open_comparison(path, compared(), False, [])
    shutil.rmtree(path / "zorba")
    begun.state.cells["zorba/seed-7"] = ComparisonCell(method="zorba", seed=7, rate=0.1, status="interrupted")
    begun.write()
    with pytest.raises(RunDirError, match="exists: continue it with --resume"):
        open_comparison(path, compared(), False, [])
    open_comparison(path, compared(), True, [])
    for changed, line in (
        (compared(seeds=3), r"seeds: \[7, 8\] -> \[7, 8, 9\]"),
        (compared(base=tiny_config(*BASE, "eval.rows=65")), "eval.rows: 64 -> 65"),
        (compared(base=tiny_config(*BASE, "zo.lr=0.5")), "settings.zo.lr: [0-9.]+ -> 0.5"),
    ):
        with pytest.raises(RunDirError, match=rf"the settings of the comparison differ.*\n  {line}\n"):
            open_comparison(path, changed, True, [])
    with pytest.raises(RunDirError, match=r"not a complete comparison directory: compare\.json is missing"):
        open_comparison(tmp_path / "nothing", compared(), True, [])
    for text in ("{", "{}", "null", "[]", '{"name": "a", "asked": {}, "passes": 1, "cells": []}'):
        (path / "compare.json").write_text(text)
        with pytest.raises(RunDirError, match=r"compare\.json"):
            open_comparison(path, compared(), True, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match="Not a directory"):
        open_comparison(tmp_path / "file" / "below", compared(), False, [])
    assert compared().passes == 120


def test_runs_on_other_data_are_told_apart(tmp_path: Path) -> None:
    state = open_comparison(tmp_path / "compare", compared(), False, []).state
    header = prepare(tiny_config()).header

    def check(method: str = "zorba", **changes: str) -> None:
        cell = planned_run(compared(), method, 7, 0.1, tuning=False)
        check_inputs(state, cell, msgspec.structs.replace(header, **changes), tmp_path)

    check()
    check()
    with pytest.raises(RunDirError, match="its data are not"):
        check(data_sha256="0" * 64)
    with pytest.raises(RunDirError, match="its weights are not"):
        check(weights_sha256="1" * 64)
    check("fedit", manifest_sha256="3" * 64, weights_sha256="2" * 64)  # adapters are part of the weights
    with pytest.raises(RunDirError, match="its weights are not"):
        check("mezo", weights_sha256="1" * 64)


@pytest.mark.parametrize(
    ("tried", "best", "beyond"),
    [
        ({0.1: 2.0, 0.3: 1.0, 0.9: 3.0}, 0.3, None),
        ({0.1: 1.0, 0.3: 2.0, 0.9: 3.0}, 0.1, 0.0333),
        ({0.1: 3.0, 0.3: 2.0, 0.9: 1.0}, 0.9, 2.7),
        ({0.1: 1.0, 0.3: 1.0, 0.9: None}, 0.1, 0.0333),
        ({0.1: None, 0.3: None, 0.9: None}, 0.1, 0.0333),
    ],
)
def test_a_ladder_goes_on_where_its_best_rate_is_at_an_end(
    tried: dict[float, float | None], best: float, beyond: float | None
) -> None:
    assert (best_rate(tried), rate_beyond(tried)) == (best, beyond)
