"""`zorba-ray schema`: every setting once per line, filtered, with values and nested keys."""

import re

import pytest

from tests.conftest import Cli
from zorba_ray.config import ExperimentConfig
from zorba_ray.config.base import known_keys
from zorba_ray.config.listing import listed_settings
from zorba_ray.errors import ConfigError


def test_all_settings_are_listed_with_their_values() -> None:
    listed = {entry.key: entry for entry in listed_settings()}
    for key in set(known_keys(ExperimentConfig)) - set(listed):
        assert any(other.replace("[]", "") == key or other.startswith(f"{key}.") for other in listed), key
    assert listed["zo.scope"].values.split(" | ")[:2] == ["all", "matrices"]
    assert (listed["rounds"].values, listed["rounds"].default) == ("whole number ≥ 1", "100")
    assert listed["federation.fleet"].values == "list of sections | section | null"
    assert "24 GiB" in listed["federation.fleet[].vram"].values
    assert listed["federation.fleet.low"].default == "required"
    assert listed["zo.difference"].default == "by other settings"
    assert {"model.lora.rank", "federation.changes[].round", "allocation.rules[].require"} <= listed.keys()
    assert all(entry.meaning and "None" not in entry.meaning for entry in listed.values())


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("zo.scope", ["zo.scope"]),
        ("eval", ["eval.every", "eval.rows", "eval.examples", "eval.metric", "eval.keep", "eval.patience"]),
        ("lora", ["model.lora", "model.lora.rank", "model.lora.alpha", "model.lora.targets", "model.lora.path"]),
        ("name", ["name"]),
    ],
)
def test_a_filter(part: str, keys: list[str]) -> None:
    assert [entry.key for entry in listed_settings(part)] == keys


def test_a_filter_that_fits_nothing_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean zo\.lr\?"):
        listed_settings("learning_rate")


def test_in_a_terminal_no_name_is_broken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = cli("schema").out  # COLUMNS is set, as in a terminal
    for entry in listed_settings():
        assert re.search(rf"^{re.escape(entry.key)} = ", wide, re.MULTILINE)
    assert cli("schema", "zo", "--json").code == 2
