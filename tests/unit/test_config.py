"""Settings: every documented name is there, and every fault is said with key, value and rule."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from zorba_ray.config import ExperimentConfig, FleetDistribution, changed_numbers, config_from_tree, load_config
from zorba_ray.config.base import apply_override, known_keys, parse_override
from zorba_ray.config.numbers import LATER, NOT_NUMBERS
from zorba_ray.errors import ConfigError


def load(tmp_path: Path, *overrides: str, tree: Any = None) -> ExperimentConfig:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree or {}), encoding="utf-8")
    return load_config(str(path), list(overrides))


def refusal(tmp_path: Path, *overrides: str, tree: Any = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *overrides, tree=tree)
    return str(caught.value)


def value_of(config: ExperimentConfig, key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = getattr(node, part)
    return node


def test_every_setting_has_a_docstring() -> None:
    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                walk(field.annotation, f"{prefix}{name}.")
            else:
                assert field.description, f"{prefix}{name} has no docstring"

    walk(ExperimentConfig, "")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("zo.lrr=1", "did you mean zo.lr?"),
        ("lr=1", "did you mean zo.lr?"),
        ("federation.fleets=1", "did you mean federation.fleet?"),
        ("zo.epsilon=0.1", "did you mean allocation.epsilon?"),
        ("alocation.epsilon=0.1", "did you mean allocation"),
        ("qqqqqqqq=1", "`zorba-ray schema` lists all settings"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_name(tmp_path: Path, override: str, hint: str) -> None:
    message = refusal(tmp_path, override)
    assert f"{override.split('=')[0].split('.')[0]}" in message
    assert "unknown setting" in message
    assert hint in message


def test_unknown_keys_inside_the_fleet_are_named_by_place(tmp_path: Path) -> None:
    message = refusal(tmp_path, "federation.fleet=[{name: a, count: 8, vrm: 1 GiB}]", "memory.frozen=host")
    assert "federation.fleet.0.vrm: unknown setting (value '1 GiB'); did you mean federation.fleet.vram?" in message
    assert "federation.fleet.0.vram: Field required" in message
    assert "tuple" not in message


@pytest.mark.parametrize(
    ("override", "key", "value", "rule"),
    [
        ("rounds=2.5", "rounds", "2.5", "integer"),
        ("rounds=true", "rounds", "True", "true and false are neither"),
        ("federation.participants=yes", "federation.participants", "True", "put text in quotes"),
        ("federation.gpus=on", "federation.gpus", "True", "true and false are neither"),
        ("data.label_words=[no,'yes']", "data.label_words.0", "False", "put text in quotes"),
        ("zo.lr=.nan", "zo.lr", "nan", "finite"),
        ("zo.scope=bias", "zo.scope", "'bias'", "'bias_norm'"),
        ("zo=3", "zo", "3", "this is a section"),
        ("federation.participants=1.5", "federation.participants", "1.5", "share strictly between 0 and 1"),
        ("federation.participants=0", "federation.participants", "0", "count of clients ≥ 1"),
        ("federation.gpus=0", "federation.gpus", "0", "a number of GPUs ≥ 1"),
        ("federation.gpus=few", "federation.gpus", "'few'", "a number of GPUs ≥ 1"),
        ("federation.gpu_memory=24 GiX", "federation.gpu_memory", "'24 GiX'", "not a number of bytes"),
        ("federation.fleet=5", "federation.fleet", "5", "a list of classes"),
        ("name=../up", "name", "'../up'", "pattern"),
        ("data.prompt=no column", "data.prompt", "'no column'", "at least one column in braces"),
        ("data.prompt='{text'", "data.prompt", "'{text'", "not a template"),
        ("data.prompt='{0}'", "data.prompt", "'{0}'", "column in braces"),
    ],
)
def test_a_refusal_names_key_value_and_rule(tmp_path: Path, override: str, key: str, value: str, rule: str) -> None:
    message = refusal(tmp_path, override)
    assert f"{key} = {value}: " in message
    assert rule in message
    assert "1 setting(s) refused" in message, "one fault is reported once"


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    message = refusal(tmp_path, "zo.lr=-1", "data.alpha=0", "rouns=3")
    assert "3 setting(s) refused" in message
    for key in ("zo.lr", "data.alpha", "did you mean rounds?"):
        assert key in message


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["data.label_words=[great]"], ["label_words", "at least two"]),
        (["data.label_words=[great,great]"], ["label_words", "['great', 'great']", "differ"]),
        (["data.label_shift_schedule=linear"], ["data.label_shift_schedule=linear", "data.label_shift=0", "=1"]),
        (["data.label_shift=0.5", "model.head=lm"], ["data.label_shift=0.5", "task.kind=language_model", "no labels"]),
        (["data.partition=column"], ["partition=column", "data.partition_column"]),
        (["allocation.coverage=9"], ["allocation.coverage (9)", "federation.clients (8)"]),
        (["allocation.order=[vram,vram]"], ["allocation.order", "['vram', 'vram']", "both objectives"]),
        (["federation.participants=9"], ["federation.participants (9)", "federation.clients (8)"]),
        (["federation.spares=2"], ["federation.spares=2", "federation.participants to a count"]),
        (["federation.participants=7", "federation.spares=2"], ["federation.spares (2)", "federation.clients (8)"]),
        (
            ["memory.frozen=host", "federation.fleet=[{name: a, count: 7, vram: 1 GiB}]"],
            ["federation.fleet", "add up to 7", "federation.clients is 8"],
        ),
        (
            [
                "memory.frozen=host",
                "federation.fleet=[{name: a, count: 4, vram: 1 GiB}, {name: a, count: 4, vram: 2 GiB}]",
            ],
            ["class names", "['a', 'a']"],
        ),
        (
            ["memory.frozen=host", "federation.fleet={distribution: uniform, low: 3, high: 2}"],
            ["federation.fleet", "high (2)", "low (3)"],
        ),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, overrides: list[str], fragments: list[str]) -> None:
    message = refusal(tmp_path, *overrides)
    assert all(fragment in message for fragment in fragments), message


FLEET = "federation.fleet=[{name: a, count: 8, vram: 1 GiB}]"


@pytest.mark.parametrize(
    ("frozen", "master", "dtype", "binds"),
    [
        # algorithm.md §6: active_b − frozen_b per scoped parameter; no budget binds where it is 0.
        ("device", "device", "bf16", True),  # 4 − 2
        ("device", "device", "fp32", False),  # 4 − 4
        ("device", "host", "bf16", False),  # 2 − 2
        ("device", "host", "fp32", False),  # 4 − 4
        ("host", "device", "bf16", True),  # 4 − 0
        ("host", "device", "fp32", True),  # 4 − 0
        ("host", "host", "bf16", True),  # 2 − 0
        ("host", "host", "fp32", True),  # 4 − 0
    ],
)
def test_memory_policies_under_which_no_budget_can_bind(
    tmp_path: Path, frozen: str, master: str, dtype: str, binds: bool
) -> None:
    policy = [f"memory.frozen={frozen}", f"memory.master={master}", f"memory.compute_dtype={dtype}"]
    load(tmp_path, *policy)  # without budgets every policy is allowed
    if binds:
        load(tmp_path, *policy, FLEET)
    else:
        message = refusal(tmp_path, *policy, FLEET)
        assert all(setting in message for setting in policy)
        assert "no VRAM budget can bind" in message


def test_numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 (no dot) as text; typed settings repair it, in overrides and in files."""
    assert yaml.safe_load("1e-3") == "1e-3"
    assert load(tmp_path, "zo.lr=1e-3").zo.lr == 1e-3
    assert load(tmp_path, tree={"zo": {"perturbation_scale": "1e-4"}}).zo.perturbation_scale == 1e-4
    assert load(tmp_path, "federation.gpu_memory=4 MiB").federation.gpu_memory == 4 * 2**20


def test_participants_keep_their_kind(tmp_path: Path) -> None:
    for text, expected in [("3", 3), ("0.5", 0.5), ("2.0", 2), ("null", None)]:
        found = load(tmp_path, f"federation.participants={text}").federation.participants
        assert found == expected
        assert type(found) is type(expected)


def test_a_fleet_of_either_form(tmp_path: Path) -> None:
    classes = load(tmp_path, "memory.frozen=host", FLEET).federation.fleet
    assert isinstance(classes, tuple)
    assert (classes[0].name, classes[0].count, classes[0].vram) == ("a", 8, 2**30)
    drawn = load(
        tmp_path, "memory.frozen=host", "federation.fleet={distribution: log_uniform, low: 1 MiB, high: 2 MiB}"
    )
    assert drawn.federation.fleet == FleetDistribution(distribution="log_uniform", low=2**20, high=2**21)
    assert config_from_tree(drawn.resolved(), "again") == drawn


@pytest.mark.parametrize("text", ["rounds", "=3", "zo..lr=3", ".zo=3", "rounds=[", "zo.=1"])
def test_overrides_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="override") as caught:
        parse_override(text)
    assert repr(text) in str(caught.value)


def test_overrides_are_yaml() -> None:
    assert parse_override("data.label_words=[a, b]") == (["data", "label_words"], ["a", "b"])
    assert parse_override("data.prompt='{text} a=b'") == (["data", "prompt"], "{text} a=b")
    assert parse_override("federation.fleet=null") == (["federation", "fleet"], None)


def test_overrides_below_a_value_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"override rounds\.x: rounds is a value, not a section"):
        apply_override({"rounds": 3}, ["rounds", "x"], 1)


def test_unquoted_braces_are_explained(tmp_path: Path) -> None:
    """A shell user's first try; YAML reads braces as a mapping."""
    for override in ("data.prompt={text} It was", "data.prompt={text}"):
        assert "in quotes" in refusal(tmp_path, override)
    assert load(tmp_path, 'data.prompt="{text} It was"').data.prompt == "{text} It was"


def test_an_empty_section_can_be_filled(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("zo:\n", encoding="utf-8")
    assert load_config(str(path), ["zo.lr=0.5"]).zo.lr == 0.5


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"[1, 2]", "must be a mapping of settings, got list"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\x00", "cannot be read as UTF-8"),
        (b"1: 2", "Keys should be strings"),
    ],
)
def test_files_that_are_no_settings(tmp_path: Path, content: bytes, fragment: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert fragment in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"config 'demmo': no such file, and not a preset \(.*demo.*\)"):
        load_config("demmo")


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("", encoding="utf-8")
    assert load_config(str(path)) == ExperimentConfig(name="empty")


# What a resume may change -------------------------------------------------------------------------------------------


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


EXEMPT = {
    "name",
    "model.path",
    "data.path",
    "data.revision",
    "directions.backend",
    "eval.every",
    "eval.rows",
    "eval.examples",
    "eval.metric",
    "eval.keep",
    "eval.patience",
    "tracking.wandb",
    "tracking.project",
    "tracking.group",
    "tracking.profile",
    "federation.backend",
    "federation.mode",
    "federation.snapshot_every",
    "federation.workers",
    "federation.gpus",
    "federation.gpu_memory",
    "federation.deadline_s",
    "federation.retries",
    "federation.quorum",
    "federation.patience",
    "allocation.time_limit_s",
    "allocation.gap",
}
"""Backend, mode, workers, directions.backend, tracking and paths do not count; the rest is ours."""


def test_not_numbers_are_real_keys() -> None:
    assert set(NOT_NUMBERS) <= set(known_keys(ExperimentConfig))


def test_every_setting_counts_but_the_exempt_ones() -> None:
    """A new setting must be judged: it changes results, or it stands in EXEMPT and NOT_NUMBERS."""
    config = ExperimentConfig()
    left_out = leaves(config.resolved()).keys() - config.numbers().keys()
    assert left_out == EXEMPT | LATER.keys()


def test_a_later_setting_counts_from_another_value_on() -> None:
    """Its own value is as if it were not there, and is the default: ledgers of before fit."""
    base = ExperimentConfig()
    assert LATER.items() <= leaves(base.resolved()).items()
    assert not LATER.keys() & base.numbers().keys()
    other = config_from_tree({"data": {"labels_per_client": 3}}, "altered")
    assert other.numbers()["data.labels_per_client"] == 3
    assert other.digest() != base.digest()


@pytest.mark.parametrize(
    ("tree", "changed"),
    [
        ({"zo": {"lr": 0.7}}, ["zo.lr"]),
        ({"zo": {"rank": 2}}, ["zo.rank"]),
        (
            {"data": {"label_shift": 0.5, "label_shift_schedule": "linear"}},
            ["data.label_shift", "data.label_shift_schedule"],
        ),
        ({"allocation": {"rules": [{"kind": "small", "max_blocks": 3}]}}, ["allocation.rules"]),
        (
            {
                "federation": {"clients": 8, "fleet": {"distribution": "uniform", "low": 5, "high": 9}},
                "memory": {"frozen": "host"},
            },
            ["federation.fleet.distribution", "federation.fleet.high", "federation.fleet.low", "memory.frozen"],
        ),
        ({"model": {"lora": {"rank": 4}}}, ["model.lora.alpha", "model.lora.rank", "model.lora.targets"]),
        ({"federation": {"backend": "ray", "workers": 5}, "tracking": {"wandb": "disabled"}, "eval": {"every": 3}}, []),
    ],
)
def test_the_digest_follows_what_changes_results(tree: dict[str, Any], changed: list[str]) -> None:
    base, other = ExperimentConfig(), config_from_tree(tree, "altered")
    assert (other.digest() == base.digest()) == (not changed)
    assert [line.split(":")[0] for line in changed_numbers(base.numbers(), other.numbers())] == changed


@pytest.mark.parametrize(
    ("zo", "method", "difference"),
    [
        ({}, "zorba", "central"),
        ({"directions": 1}, "zorba", "central"),
        ({"directions": 2}, "zorba", "forward"),
        ({"directions": "8"}, "zorba", "forward"),
        ({"directions": 8, "difference": "central"}, "zorba", "central"),
        ({"directions": 8, "rank": 1}, "zorba", "central"),
        ({"directions": 8}, "mezo", "central"),
    ],
)
def test_several_dense_directions_are_one_sided_unless_said(zo: dict[str, Any], method: str, difference: str) -> None:
    found = ExperimentConfig.model_validate({"zo": zo, "method": method})
    assert found.zo.difference == difference
    assert ExperimentConfig.model_validate(found.resolved()).digest() == found.digest()
