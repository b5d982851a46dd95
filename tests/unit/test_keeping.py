"""Which round is the best one, and when evaluations that do not get better end a run."""

from typing import get_args

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.artifacts import Eval
from zorba_ray.config import EvalConfig, ExperimentConfig, config_from_tree
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.keeping import best_round, ends_early


def evals(**by_round: float) -> list[Eval]:
    return [
        Eval(round=int(name[1:]), split="validation", loss=loss, accuracy=1 - loss) for name, loss in by_round.items()
    ]


def config(*overrides: str) -> ExperimentConfig:
    return tiny_config("rounds=100", "eval.every=10", *overrides)


def test_the_best_round_has_the_lowest_loss_or_the_highest_accuracy() -> None:
    records = [
        Eval(round=0, split="validation", loss=3.0, accuracy=0.2),
        Eval(round=10, split="validation", loss=1.0, accuracy=0.5),
        Eval(round=20, split="validation", loss=2.0, accuracy=0.7),
        Eval(round=30, split="validation", loss=2.5, accuracy=0.6),
    ]
    assert best_round(config(), records) == 10
    assert best_round(config("eval.metric=accuracy"), records) == 20


def test_of_equal_ones_the_first_and_the_start_counts() -> None:
    assert best_round(config(), evals(r0=1.0, r10=0.5, r20=0.5)) == 10
    assert best_round(config(), evals(r0=1.0, r10=1.5, r20=1.0)) == 0


def test_what_these_settings_would_not_evaluate_does_not_count() -> None:
    """A run of 25 rounds was given more: its evaluation after round 25 is none of the longer run's."""
    records = evals(r0=1.0, r10=0.9, r20=0.8, r25=0.1, r30=0.85, r40=0.9)
    assert best_round(config(), records) == 20
    assert ends_early(config("eval.patience=2"), records)
    assert not ends_early(config("eval.patience=3"), records)
    assert best_round(tiny_config("rounds=25", "eval.every=10"), records) == 25, "its last round"


@pytest.mark.parametrize(
    ("losses", "patience", "ends"),
    [
        ({"r0": 1.0}, 1, False),
        ({"r0": 1.0, "r10": 1.0}, 1, True),
        ({"r0": 1.0, "r10": 0.9}, 1, False),
        ({"r0": 1.0, "r10": 0.9, "r20": 0.95, "r30": 0.91}, 2, True),
        ({"r0": 1.0, "r10": 0.9, "r20": 0.95, "r30": 0.89}, 2, False),
    ],
)
def test_patience_counts_evaluations_since_the_best(losses: dict[str, float], patience: int, ends: bool) -> None:
    assert ends_early(config(f"eval.patience={patience}"), evals(**losses)) == ends
    assert not ends_early(config(), evals(**losses)), "without patience no run ends early"


def test_a_language_model_has_no_accuracy_to_judge_by() -> None:
    with pytest.raises(ConfigError, match=r"eval\.metric=accuracy with task\.kind=language_model.*eval\.metric=loss"):
        config_from_tree({"model": {"head": "lm"}, "eval": {"metric": "accuracy"}}, "test")
    with pytest.raises(ConfigError, match=r"eval\.metric=perplexity with task\.kind=classification"):
        tiny_config("eval.metric=perplexity")
    with pytest.raises(ConfigError, match=r"eval\.metric=token_f1 with task\.kind=classification"):
        tiny_config("eval.metric=token_f1")
    task = {"kind": "generation", "answer": "{text}"}
    with pytest.raises(ConfigError, match=r"eval\.metric=number_match with task\.kind=generation"):
        config_from_tree({"task": task, "eval": {"metric": "number_match"}}, "test")
    assert config_from_tree({"task": {**task, "scores": ["number_match"]}, "eval": {"metric": "number_match"}}, "test")
    with pytest.raises(ConfigError, match=r"eval\.metric=macro_f1 with task\.kind=multiple_choice"):
        config_from_tree({"task": {"options_column": "options"}, "eval": {"metric": "macro_f1"}}, "test")


def test_every_figure_of_an_evaluation_can_be_judged_by() -> None:
    assert set(get_args(EvalConfig.model_fields["metric"].annotation)) == set(Eval.FIGURES)
    records = [
        Eval(round=at, split="validation", loss=1.0, perplexity=9.0 - at, mcc=at / 100, token_f1=at / 99)
        for at in (0, 10)
    ]
    for metric in ("perplexity", "mcc", "token_f1"):
        settings = config().eval.model_copy(update={"metric": metric})
        assert best_round(config().model_copy(update={"eval": settings}), records) == 10
    assert best_round(config("eval.metric=macro_f1"), records) == 0, "none of them knows it"
