"""Which aggregations a run may have, what each refusal says, and what became of `zo.clip_spread`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.artifacts.rundir import read_run_settings
from zorba_ray.config import changed_numbers, config_from_tree
from zorba_ray.config.numbers import numbers_digest, numbers_of
from zorba_ray.errors import ConfigError

SHARED = "federation.seeds=shared"


def old_tree(spread: float | None) -> dict[str, Any]:
    """The settings of a run of a program with `zo.clip_spread`."""
    tree = tiny_config().resolved()
    for key in ("aggregate", "spread", "byzantine"):
        del tree["federation"][key]
    del tree["adversaries"]
    return {**tree, "zo": {**tree["zo"], "clip_spread": spread}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["aggregate=medan"], "federation.aggregate = 'medan'"),
        (["aggregate=median"], "federation.seeds=per_client: scalars of different directions cannot be compared"),
        (["aggregate=median", "seeds=shared"], "allocation.coverage=1 promises only 1 holders.* allocation.coverage=3"),
        (["aggregate=krum", "seeds=shared"], r"krum withstands 1 hostile of 5 .*; take more clients, or a smaller f"),
        (["aggregate=median", "seeds=shared", "byzantine=2"], "take more clients"),
        (["aggregate=clip_spread", "participants=2"], "with 2 clients a round: of fewer than 3 reports"),
        (["aggregate=clip_spread", "spread=0.5"], "greater than or equal to 1"),
        (["spread=3"], "federation.spread=3 with federation.aggregate=mean"),
        (["byzantine=1"], "federation.byzantine=1 with federation.aggregate=mean"),
        (["aggregate=clip_spread", "byzantine=1"], "federation.byzantine=1 with federation.aggregate=clip_spread"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(*(f"federation.{text}" for text in overrides))


def test_clients_that_may_not_be_asked_count_against_the_coverage() -> None:
    own = (SHARED, "federation.aggregate=median", "federation.participants=3")
    with pytest.raises(ConfigError, match=r"of which 1 may be not asked in a round; set allocation.coverage=4"):
        tiny_config(*own, "allocation.coverage=3")
    tiny_config(*own, "allocation.coverage=4")


def test_all_clients_hold_all_blocks_of_a_method_that_allocates_none() -> None:
    own = ("method=decomfl", SHARED, "federation.aggregate=median")
    assert tiny_config(*own).federation.byzantine == 1
    with pytest.raises(ConfigError, match=r"3 reports.*and 2 of federation.clients=4 are asked; ask 3 or more"):
        tiny_config(*own, "federation.participants=2")


@pytest.mark.parametrize("method", ["fedavg", "fedkseed", "mezo", "fedit", "fedmezo"])
def test_other_methods_take_their_own_mean(method: str) -> None:
    more = {"fedkseed": ["zo.schedule=constant"], "mezo": ["federation.clients=1"]}.get(method, [])
    lora = ["zo.scope=lora", "model.lora.rank=2"] if method in ("fedit", "fedmezo") else []
    with pytest.raises(
        ConfigError, match=rf"federation.aggregate=clip_spread with method={method}: only methods whose"
    ):
        tiny_config(f"method={method}", "federation.aggregate=clip_spread", *more, *lora)


def test_scalars_per_example_cannot_be_compared() -> None:
    own = ("zo.directions_per=example", "zo.scope=all", SHARED, "allocation.coverage=3")
    with pytest.raises(ConfigError, match="a batch with fewer rows has fewer scalars"):
        tiny_config(*own, "federation.aggregate=trimmed_mean")
    assert tiny_config(*own, "federation.aggregate=clip_spread").federation.spread == 6.0


# --- zo.clip_spread ---------------------------------------------------------------------------------------------------


def test_the_old_name_is_refused_with_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"now federation.aggregate=clip_spread with federation.spread=2: set these"):
        tiny_config("zo.clip_spread=2")
    assert tiny_config("zo.clip_spread=null") == tiny_config()


@pytest.mark.parametrize("spread", [None, 2.0])
def test_an_older_run_keeps_its_digest_and_its_meaning(spread: float | None, tmp_path: Path) -> None:
    tree, file = old_tree(spread), tmp_path / "config.resolved.json"
    file.write_text(json.dumps(tree))
    found, unknown = read_run_settings(file)
    assert unknown == ()
    assert (found.federation.aggregate, found.federation.spread) == ("clip_spread" if spread else "mean", spread)
    assert found.digest() == numbers_digest(numbers_of(tree))
    assert found.numbers()["zo.clip_spread"] == spread
    assert config_from_tree(found.resolved(), "again") == found


def test_another_aggregation_is_another_run() -> None:
    plain, clipped = tiny_config(), tiny_config("federation.aggregate=clip_spread")
    assert changed_numbers(plain.numbers(), clipped.numbers()) == ["federation.spread: None -> 6.0"]
    median = tiny_config(SHARED, "federation.aggregate=median", "allocation.coverage=3")
    changes = changed_numbers(tiny_config(SHARED, "allocation.coverage=3").numbers(), median.numbers())
    assert changes == ["federation.aggregate: 'mean' -> 'median'", "federation.byzantine: None -> 1"]
