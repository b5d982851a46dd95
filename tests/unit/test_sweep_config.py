"""Sweep files: what is accepted, and that every fault names key, value and rule."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from zorba_ray.config import load_sweep
from zorba_ray.errors import ConfigError

SPACE = {"zo.lr": {"grid": [0.01, 0.02]}}


def write(folder: Path, tree: Any) -> str:
    path = folder / "sweep.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {"zo.lrr": {"grid": [1]}}}, r"zo\.lrr is no setting; did you mean zo\.lr\?"),
        ({"space": {"zo.lr": {"grid": [1.0], "when": {"zo.dirs": 1}}}}, r"zo\.dirs is no setting"),
        ({"space": {"tracking.wandb": {"grid": ["offline"]}}}, r"tracking\.wandb cannot be swept"),
        ({"space": {"name": {"grid": ["a"]}}}, r"name cannot be swept"),
        ({"space": {}}, r"space.*at least 1 item"),
        ({"space": {"zo.lr": {"grid": []}}}, r"grid has no values: an empty space"),
        ({"space": {"zo.lr": {}}}, r"exactly one of grid, choice, .* got none"),
        ({"space": {"zo.lr": {"grid": [1.0], "choice": [2.0]}}}, r"exactly one of .* got grid, choice"),
        ({"space": {"zo.lr": {"uniform": [0.2, 0.1]}}}, r"low \(0\.2\) must be below high"),
        ({"space": {"zo.lr": {"loguniform": [0, 0.1]}}}, r"low \(0\) must be above 0"),
        ({"space": {"zo.lr": {"uniform": [0, 1, 2]}}}, r"q \(2\) must be above 0 and at most"),
        ({"space": {"zo.lr": {"uniform": ["a", 1]}}}, r"space\.zo\.lr\.uniform\.0 = 'a'"),
        ({"space": {"zo.lr": {"uniform": [0.1, 0.2]}}}, r"search\.type=grid, but zo\.lr is uniform"),
        ({"search": {"type": "optuna"}}, r"search\.type=optuna, but zo\.lr is a grid: use choice"),
        ({"samples": 3}, r"samples=3 repeats equal trials of a grid"),
        ({"metric": {"name": "loss"}}, r"metric\.0\.name = 'loss'.*validation_loss"),
        ({"metric": []}, r"one figure, or two for a Pareto front, got 0"),
        ({"metric": [{"name": "f1"}, {"name": "f1"}]}, r"metric names f1 twice"),
        ({"metric": {"name": "test_loss"}, "scheduler": {"type": "asha"}}, r"test_loss is reported at the end only"),
        (
            {"metric": [{"name": "validation_loss"}, {"name": "f1"}], "scheduler": {"type": "median"}},
            r"scheduler\.type=median judges by one metric",
        ),
        (
            {"space": {"data.alpha": {"grid": [1.0], "when": {"seed": 1}}, "seed": {"grid": [1, 2]}}},
            r"space\.data\.alpha\.when names seed, which must stand before",
        ),
        ({"schedular": {"type": "asha"}}, r"schedular: unknown setting .* did you mean scheduler"),
        ({"set": {"zo.directons": 2}}, r"zo\.directons is no setting; did you mean zo\.directions\?"),
        ({"name": "a b"}, r"name = 'a b'"),
        ({"run": "nowhere.yaml"}, r"config 'nowhere\.yaml': no such file, and not a preset"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_sweep(write(tmp_path, {"name": "s", "space": SPACE, **change}))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = "name: s\nspace:\n  zo.lr: {grid: [0.1]}\n  zo.lr: {grid: [0.2]}\n"
    with pytest.raises(ConfigError, match=r"the key 'zo\.lr' stands twice"):
        load_sweep(write(tmp_path, text))


def test_numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text: bounds are numbers all the same."""
    text = "name: s\nsearch: {type: random}\nspace:\n  zo.lr: {loguniform: [1e-4, 1e-1]}\n"
    sweep, _ = load_sweep(write(tmp_path, text))
    assert sweep.space["zo.lr"].loguniform == (1e-4, 1e-1)


def test_run_beside_set_and_overrides(tmp_path: Path) -> None:
    """The run file beside the sweep, its `set`, and the command line's values, each over the one before."""
    (tmp_path / "mine.yaml").write_text("rounds: 5\nseed: 1\nzo: {lr: 0.5}\n", encoding="utf-8")
    file = write(tmp_path, {"name": "s", "run": "mine.yaml", "set": {"rounds": 6, "zo.directions": 2}, "space": SPACE})
    sweep, base = load_sweep(file, ["seed=9", "sweep.concurrency=1", "zo.directions=3"])
    assert (base["rounds"], base["seed"], base["zo"]) == (6, 9, {"lr": 0.5, "directions": 3})
    assert sweep.concurrency == 1


def test_an_override_of_a_swept_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"override zo\.lr: .* sweeps it"):
        load_sweep(write(tmp_path, {"name": "s", "space": SPACE}), ["zo.lr=0.1"])


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n"])
def test_not_a_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"sweep '"):
        load_sweep(write(tmp_path, text))


def test_merge_keys_are_yaml(tmp_path: Path) -> None:
    text = "name: s\nspace: {seed: {grid: [1]}}\nset: {<<: {rounds: 3}, seed: 2}\n"
    assert load_sweep(write(tmp_path, text))[0].set == {"rounds": 3, "seed": 2}
