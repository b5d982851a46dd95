"""From a space to trials: crossing, draws, conditions, typed values, names, refusals."""

from typing import Any

import pytest

from zorba_ray.artifacts import Eval
from zorba_ray.artifacts.sweep import FIGURES
from zorba_ray.campaigns.sweep.plan import drawn_at, make_trial, plan_trials, points, rounded
from zorba_ray.campaigns.sweep.resources import TrialNeeds, require_cluster_room, trial_needs
from zorba_ray.config import SweepConfig
from zorba_ray.errors import ClusterError, ConfigError


def sweep(space: dict[str, Any], **more: Any) -> SweepConfig:
    return SweepConfig.model_validate({"name": "s", "space": space, **more})


def values(config: SweepConfig, base: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [plan.values for plan in plan_trials(config, base or {})]


def test_grids_are_crossed_the_last_fastest() -> None:
    found = values(sweep({"allocation.epsilon": {"grid": [0, 0.5]}, "seed": {"grid": [1, 2]}}))
    assert [(v["allocation.epsilon"], v["seed"]) for v in found] == [(0.0, 1), (0.0, 2), (0.5, 1), (0.5, 2)]


def test_values_have_the_type_of_their_setting() -> None:
    """'1e-3' in a list is text to YAML and a number to zo.lr; 3.0 is the integer 3 of zo.directions."""
    (plan,) = plan_trials(sweep({"zo.lr": {"grid": ["1e-3"]}, "zo.directions": {"grid": [3.0]}}), {})
    assert plan.values == {"zo.lr": 0.001, "zo.directions": 3}
    assert isinstance(plan.values["zo.directions"], int)
    assert plan.config.zo.lr == 0.001


@pytest.mark.parametrize(
    ("space", "base", "message"),
    [
        ({"zo.lr": {"grid": [0.1, "fast"]}}, {}, r"sweep s, trial 1 \(zo\.lr=fast\).*\n.*zo\.lr = 'fast'.*number"),
        ({"zo.directions": {"grid": [1.5]}}, {}, r"zo\.directions = 1\.5"),
        ({"zo.lr": {"grid": [0.1, "0.1"]}}, {}, r"trials 000-lr=0\.1 and 001-lr=0\.1 are the same run"),
        ({"federation.clients": {"grid": [4]}}, {"federation": {"fleet": [{"name": "a", "count": 8, "vram": 9}]},
          "memory": {"frozen": "host"}}, r"counts in federation\.fleet add up to 8, federation\.clients is 4"),
    ],
)  # fmt: skip
def test_refused_before_anything_runs(space: dict[str, Any], base: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_trials(sweep(space), base)


@pytest.mark.parametrize(
    ("name", "mode", "head", "message"),
    [
        ("validation_accuracy", "max", "lm", r"validation_accuracy is never reported with task\.kind=language_model"),
        ("test_token_f1", "max", "lm", r"test_token_f1 is never reported with task\.kind=language_model"),
        ("test_macro_f1", "max", "lm", r"test_macro_f1 is never reported with task\.kind=language_model"),
        (
            "validation_perplexity",
            "min",
            "auto",
            r"validation_perplexity is never reported with task\.kind=classification",
        ),
    ],
)
def test_a_figure_that_no_trial_has_is_refused(name: str, mode: str, head: str, message: str) -> None:
    config = sweep({"seed": {"grid": [1]}}, metric={"name": name, "mode": mode})
    with pytest.raises(ConfigError, match=message):
        plan_trials(config, {"model": {"head": head}})


@pytest.mark.parametrize("name", Eval.FIGURES)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_figure_is_not_ranked_from_its_wrong_end(name: str, split: str) -> None:
    right, wrong = ("min", "max") if name in ("loss", "perplexity") else ("max", "min")
    space = {"seed": {"grid": [1]}}
    assert sweep(space, metric={"name": f"{split}_{name}", "mode": right}).metric[0].name in FIGURES
    with pytest.raises(ValueError, match=f"{split}_{name} with mode={wrong}: .* write mode: {right}"):
        sweep(space, metric={"name": f"{split}_{name}", "mode": wrong})


def test_a_scheduler_with_nothing_to_stop() -> None:
    config = sweep({"seed": {"grid": [1]}}, scheduler={"type": "asha", "grace_rounds": 10})
    with pytest.raises(ConfigError, match=r"grace_rounds=10 is not below rounds=10"):
        plan_trials(config, {"rounds": 10})


def test_labels_show_in_names_and_values() -> None:
    fleets = {"equal": [{"name": "a", "count": 8, "vram": "6 MB"}], "two kinds/odd": None}
    plans = plan_trials(sweep({"federation.fleet": {"grid": fleets}}), {"memory": {"frozen": "host"}})
    assert [plan.values["federation.fleet"] for plan in plans] == ["equal", "two kinds/odd"]
    assert [plan.name for plan in plans] == ["000-fleet=equal", "001-fleet=two_kinds_odd"]
    assert plans[0].config.federation.fleet is not None
    assert plans[1].config.federation.fleet is None


@pytest.mark.parametrize(
    ("space", "base", "expected"),
    [
        (  # α is swept where the partition is dirichlet only; the other corner stands once
            {"data.partition": {"grid": ["iid", "dirichlet"]},
             "data.alpha": {"grid": [0.1, 1.0], "when": {"data.partition": "dirichlet"}}},
            {}, [("iid", None), ("dirichlet", 0.1), ("dirichlet", 1.0)],
        ),
        (  # the run's own setting
            {"data.alpha": {"grid": [0.1, 1.0], "when": {"data.partition": ["dirichlet", "column"]}}},
            {"data": {"partition": "dirichlet"}}, [(0.1,), (1.0,)],
        ),
        (  # YAML 1.1 reads 1e-3 as text
            {"zo.lr": {"grid": [0.001, 0.01]}, "zo.directions": {"grid": [2], "when": {"zo.lr": "1e-3"}}},
            {}, [(0.001, 2), (0.01, None)],
        ),
    ],
)  # fmt: skip
def test_when(space: dict[str, Any], base: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    assert [tuple(found.values()) for found in values(sweep(space), base)] == expected


def test_when_that_never_holds() -> None:
    space = {"seed": {"grid": [1]}, "data.alpha": {"grid": [0.1], "when": {"data.partition": "dirichlet"}}}
    with pytest.raises(ConfigError, match=r"space\.data\.alpha\.when holds for no trial"):
        plan_trials(sweep(space), {})


def test_a_section_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigError, match="tracking"):
        plan_trials(sweep({"seed": {"grid": [1]}}), {"tracking": "offline"})


def test_draws_are_a_function_of_seed_and_number() -> None:
    """The first draws of a longer sweep are those of a shorter one; another seed gives others."""
    space = {"zo.lr": {"loguniform": [1e-4, 1e-1]}, "zo.directions": {"choice": [1, 2, 4, 8]}}
    short, long, other = (
        values(sweep(space, search={"type": "random", "seed": seed}, samples=count))
        for seed, count in ((7, 4), (7, 9), (8, 4))
    )
    assert long[:4] == short
    assert other != short
    assert all(1e-4 <= v["zo.lr"] <= 1e-1 and v["zo.directions"] in (1, 2, 4, 8) for v in long)
    assert len({v["zo.lr"] for v in long}) == 9


def test_random_search_crosses_grids_and_draws_anew() -> None:
    space = {"seed": {"grid": [1, 2]}, "zo.lr": {"uniform": [0.0, 1.0]}}
    found = list(points(sweep(space, search={"type": "random"}).space, {}, 3, 0))
    assert [point["seed"].value for point in found] == [1, 2, 1, 2, 1, 2]
    assert len({point["zo.lr"].value for point in found}) == 6


@pytest.mark.parametrize(
    ("form", "share", "expected"),
    [
        ({"uniform": [2.0, 4.0]}, 0.25, 2.5),
        ({"loguniform": [1e-4, 1.0]}, 0.5, 1e-2),
        ({"uniform": [0.0, 1.0, 0.25]}, 0.4, 0.5),
        ({"uniform": [1, 10, 3]}, 0.999, 9.0),
        ({"loguniform": [1, 64, 1]}, 0.5, 8.0),
        ({"choice": ["a", "b"]}, 0.6, "b"),
    ],
)
def test_quantile(form: dict[str, Any], share: float, expected: Any) -> None:
    dimension = sweep({"zo.lr": form}, search={"type": "random"}).space["zo.lr"]
    found = drawn_at(dimension, share).value
    assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected


def test_rounded_stays_inside_and_reads_well() -> None:
    assert rounded(0.31, 0.05, 1.0, 0.1) == 0.3
    assert rounded(0.0, 0.05, 1.0, 0.1) == 0.1
    assert rounded(0.98, 0.0, 0.95, 0.1) == 0.9


def test_a_trial_is_rebuilt_from_what_was_picked() -> None:
    config = sweep({"seed": {"grid": [5]}, "zo.lr": {"uniform": [0.0, 1.0]}}, search={"type": "random"})
    (plan,) = plan_trials(config, {})
    assert make_trial(config, {}, 0, plan.point) == plan


def test_tracking_of_a_trial() -> None:
    (plan,) = plan_trials(sweep({"seed": {"grid": [5]}}), {"tracking": {"wandb": "disabled"}})
    assert (plan.config.name, plan.config.tracking.group) == ("s-000", "s")
    assert plan.config.tracking.wandb == "disabled"


def test_bundles_are_what_the_trial_uses() -> None:
    """Sequential: one CPU. Packed: the loop and a CPU per worker. Pinned: a GPU fraction per client, no CPU."""
    fleet = [{"name": "half", "count": 2, "vram": 500}, {"name": "quarter", "count": 2, "vram": 250}]
    base = {
        "memory": {"frozen": "host"},
        "federation": {"clients": 4, "fleet": fleet, "gpu_memory": 1000, "workers": 3},
    }
    space = {"federation.backend": {"grid": ["sequential", "ray"]}, "federation.mode": {"grid": ["packed", "pinned"]}}
    plans = {tuple(plan.values.values()): plan for plan in plan_trials(sweep(space), base)}
    assert trial_needs(plans["sequential", "packed"].config, None).bundles == ({"CPU": 1.0},)
    assert trial_needs(plans["ray", "packed"].config, None).bundles == (
        {"CPU": 1.0}, {"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0, "GPU": 0.25},
    )  # fmt: skip
    pinned = trial_needs(plans["ray", "pinned"].config, "node:10.0.0.1")
    assert pinned.bundles == (
        {"CPU": 1.0, "node:10.0.0.1": 0.001}, {"GPU": 0.5}, {"GPU": 0.5}, {"GPU": 0.25}, {"GPU": 0.25},
    )  # fmt: skip
    assert (pinned.cpus, pinned.gpus) == (1, 2)


@pytest.mark.parametrize(
    ("total", "nodes", "message"),
    [
        ({"CPU": 2.0, "GPU": 4.0}, [{"CPU": 2.0, "GPU": 4.0}], r"trial t needs 3 CPU, the cluster has 2 \(1 missing\)"),
        ({"CPU": 4.0}, [{"CPU": 4.0}], r"trial t needs 2 GPU, the cluster has 0 \(2 missing\).*--num-gpus"),
        ({"CPU": 4.0, "GPU": 2.0}, [{"CPU": 1.0}] * 4, r"needs 2 CPU together on one node, and no node"),
    ],
)
def test_a_trial_that_can_never_start(total: dict[str, float], nodes: list[dict[str, float]], message: str) -> None:
    needs = TrialNeeds("simulated", ({"CPU": 2.0}, {"CPU": 1.0, "GPU": 0.8}, {"GPU": 0.8}), 3, 2)
    with pytest.raises(ClusterError, match=message):
        require_cluster_room("t", needs, total, nodes)
    require_cluster_room("t", needs, {"CPU": 3.0, "GPU": 2.0}, [{"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}])
