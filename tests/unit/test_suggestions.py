"""What is suggested for a wrong key, preset or file, and what a file of another kind is told."""

from pathlib import Path

import pytest

from zorba_ray.config import ExperimentConfig, load_config, load_sweep
from zorba_ray.config.base import known_keys
from zorba_ray.config.suggestions import _BY_SETTING, meant, nearest_setting
from zorba_ray.errors import ConfigError

KNOWN = known_keys(ExperimentConfig)


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("learning_rate", "zo.lr"),
        ("zo.learning_rate", "zo.lr"),
        ("method_settings.learning_rate", "method_settings.lr"),
        ("epochs", "rounds"),
        ("steps", "rounds"),
        ("num_clients", "federation.clients"),
        ("batch", "data.batch_size"),
        ("batch_size", "data.batch_size"),
        ("training.batch_size", "data.batch_size"),
        ("model_name", "model.path"),
        ("model.name", "model.path"),
        ("zo.seed", "seed"),
        ("data.seed", "seed"),
        ("zo.lrr", "zo.lr"),
        ("memory.frozn", "memory.frozen"),
        ("qqq", None),
    ],
)
def test_the_nearest_setting(key: str, setting: str | None) -> None:
    assert nearest_setting(key, KNOWN) == setting


def test_every_suggestion_is_a_setting() -> None:
    assert set(_BY_SETTING) <= set(KNOWN)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("opt-13b", "; did you mean opt-1.3b?"),
        ("demoo", "; did you mean demo?"),
        ("qwen2.5-0.5b", ""),
        ("zebra", ""),
    ],
)
def test_a_name_with_other_digits_is_another_thing(name: str, hint: str) -> None:
    assert meant(name, ["demo", "opt-1.3b", "opt-125m", "qwen2.5-7b"]) == hint


def test_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "my_run.yaml").write_text("rounds: 2\n", encoding="utf-8")
    assert load_config(str(tmp_path / "my_run.yaml")).name == "my_run"
    assert load_config(str(tmp_path / "my_run.yaml"), ["name=other"]).name == "other"
    odd = tmp_path / "_ä b.yaml"
    odd.write_text("rounds: 2\n", encoding="utf-8")
    assert load_config(str(odd)).name == "b"
    assert load_config("demo").name == "demo"
    with pytest.raises(ConfigError, match=r"no such file.*did you mean .*my_run\.yaml\?"):
        load_config(str(tmp_path / "my_rnu.yaml"))


def test_a_run_file_is_no_sweep_and_a_sweep_file_no_run(tmp_path: Path) -> None:
    run, sweep = tmp_path / "run.yaml", tmp_path / "sweep.yaml"
    run.write_text("rounds: 2\nzo: {lr: 0.1}\n", encoding="utf-8")
    sweep.write_text("name: s\nspace: {seed: {grid: [1, 2]}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a file of one run: start it with `zorba-ray run"):
        load_sweep(str(run))
    with pytest.raises(ConfigError, match="a sweep file: start it with `zorba-ray sweep"):
        load_config(str(sweep))
    with pytest.raises(ConfigError, match="no such file"):
        load_sweep(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="a preset of one run"):
        load_sweep("demo")


def test_text_in_the_place_of_a_section(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("model: facebook/opt-125m\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"write model: .*as in model: \{path: facebook/opt-125m\}"):
        load_config(str(file))
