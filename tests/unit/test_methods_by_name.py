"""How settings find a method: by a name of this package or by a module, with its own settings and published values."""

from pathlib import Path
from typing import Any

import pytest

from zorba_ray.config import ExperimentConfig, MethodSpec, config_from_tree, load_method, method_names
from zorba_ray.config.model import LoraConfig
from zorba_ray.errors import ConfigError
from zorba_ray.methods import Method


def config(**tree: Any) -> ExperimentConfig:
    return config_from_tree(tree, "here")


@pytest.mark.parametrize("name", method_names())
def test_every_file_is_a_method_whose_published_settings_hold(name: str) -> None:
    own = config(method=name)
    assert issubclass(own.spec, Method)
    for key, value in own.spec.published.items():
        section, setting = key.split(".")
        found = getattr(getattr(own, section), setting)
        assert found == (value if key != "model.lora" else LoraConfig(**value))
    assert config_from_tree(own.resolved(), "again") == own


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"method": "fedprox"}, "unknown method; known methods are zorba, adamw, decomfl"),
        ({"method": "fedmzo"}, "did you mean fedmezo"),
        ({"method": "no.such.module"}, "the module no.such.module cannot be imported"),
        ({"method": "json.tool"}, "defines 0 subclasses of Method; it must define exactly one"),
        ({"method": "../x"}, "String should match"),
        ({"method": "fedkseed", "method_settings": {"pol": 3}}, r"did you mean method_settings\.pool"),
        ({"method": "fedkseed", "method_settings": {"pool": 0}}, r"method_settings\.pool = 0"),
        ({"method": "fedavg", "method_settings": {"pool": 3}}, "it belongs to another value of `method`"),
        ({"method": "fedavg", "method_settings": {"lr": True}}, "true and false are neither"),
    ],
)
def test_what_cannot_be_is_told(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_tree(tree, "here")


def test_a_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "zorba_test_lab"
    folder.mkdir()
    (folder / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"zorba_test_lab.broken cannot be imported \(ZeroDivisionError"):
        config(method="zorba_test_lab.broken")


def test_blocks_are_allocated_only_where_commits_are_each_clients_scalars() -> None:
    with pytest.raises(TypeError, match="set allocates=False"):
        type("Mean", (MethodSpec,), {"allocates": True, "commits": "mean"})


def test_a_step_is_counted_in_passes() -> None:
    """One with backpropagation costs three forward passes."""
    assert (config(method="fedavg").passes_per_round, config(method="fedavg").cost_per_round) == (10, 30)
    assert config(method="decomfl").passes_per_round == 6  # five one-sided differences
    assert config(method="fedkseed").cost_per_round == 400
    assert load_method("zorba") is ExperimentConfig().spec
