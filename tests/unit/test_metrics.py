"""Figures of answers: scikit-learn's, the same on counts, and intervals that cover and repeat."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.artifacts import Eval
from zorba_ray.experiment.split_figures import SplitFigures
from zorba_ray.metrics import (
    LABEL_FIGURES,
    confusion,
    counted_figures,
    label_counts,
    label_figures,
    percentiles,
    resamples,
)
from zorba_ray.models import Evaluation
from zorba_ray.tables import wilson


def test_figures_of_a_matrix_that_is_worked_out_by_hand() -> None:
    """Six rows have label 0, five of them right; two have label 1, one right."""
    gold, predicted = np.array([0, 0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 0, 1, 1, 0])
    found = label_figures(gold, predicted)
    assert tuple(found) == LABEL_FIGURES
    assert found == pytest.approx(
        {
            "accuracy": 6 / 8,
            "balanced_accuracy": (5 / 6 + 1 / 2) / 2,
            "macro_f1": (10 / 12 + 2 / 4) / 2,
            "mcc": (5 * 1 - 1 * 1) / (6 * 6 * 2 * 2) ** 0.5,
        }
    )
    assert confusion(gold, predicted, 3).tolist() == [[5, 1, 0], [1, 1, 0], [0, 0, 0]]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_figures_of_counts_are_scikit_learns(data: st.DataObject) -> None:
    """Labels that no row has, that no row is given, and one label for all rows are among them."""
    labels, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    side = st.lists(st.integers(0, labels - 1), min_size=rows, max_size=rows)
    gold, predicted = (np.array(data.draw(side)) for _ in range(2))
    counted = counted_figures(np.stack([label_counts(gold, predicted, labels)] * 2))
    for name, value in label_figures(gold, predicted).items():
        assert counted[name] == pytest.approx([value] * 2, abs=1e-12), name


def test_one_answer_for_all_rows_is_worth_nothing_but_accuracy() -> None:
    gold = np.repeat([0, 1, 2], [80, 15, 5])
    found = label_figures(gold, np.zeros(100, dtype=np.int64))
    assert found["accuracy"] == 0.8
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx((160 / 180) / 3)
    assert found["mcc"] == 0


def test_draws_follow_from_seed_and_stream() -> None:
    first, again, other, elsewhere = (
        np.stack(list(resamples(seed, stream, 50))) for seed, stream in ((3, 0), (3, 0), (4, 0), (3, 1))
    )
    assert first.shape == (1000, 50)
    assert set(first.ravel()) == set(range(50))
    assert (first == again).all()
    assert (first != other).any()
    assert (first != elsewhere).any()


def test_a_mean_has_the_interval_of_its_standard_error() -> None:
    values = np.arange(400) / 400
    span = percentiles(np.array([values[rows].mean() for rows in resamples(1, 0, 400)]))
    assert span is not None
    half = 1.96 * values.std() / 20
    assert span == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_the_interval_covers_the_macro_f1_of_the_population_as_often_as_it_says() -> None:
    """80 splits of 120 rows each from one unbalanced population; 95 % of 80 is 76, and 3 σ below is 70."""
    rng = np.random.default_rng(0)
    gold = rng.choice(3, 100_000, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random(len(gold)) < 0.7, gold, rng.integers(0, 3, len(gold)))
    truth = label_figures(gold, predicted)["macro_f1"]
    covered = 0
    for trial in range(80):
        rows = rng.integers(0, len(gold), 120)
        draws = itertools.islice(resamples(trial, 0, 120), 200)
        counts = np.stack([label_counts(gold[rows][each], predicted[rows][each], 3) for each in draws])
        span = percentiles(counted_figures(counts)["macro_f1"])
        assert span is not None
        covered += span[0] <= truth <= span[1]
    assert 70 <= covered < 80


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [1.0, np.inf, 2.0], [np.nan, 1.0, 2.0]])
def test_what_says_nothing_of_other_rows_has_no_interval(values: list[float]) -> None:
    assert percentiles(np.array(values)) is None


def _evaluation(gold: np.ndarray, given: np.ndarray, labels: int) -> Evaluation:
    right, counts = float((gold == given).mean()), np.bincount(given, minlength=labels)
    losses, ones = np.where(gold == given, 0.1, 2.0), np.ones(len(gold), dtype=np.int64)
    return Evaluation(float(losses.mean()), right, len(gold), 1.0, tuple(counts.tolist()), losses, ones, given)


def test_a_record_has_figures_intervals_the_majority_class_and_the_matrix() -> None:
    """The majority is that of the training rows, which need not be the split's."""
    gold, given = np.repeat([0, 1, 2], [60, 30, 10]), np.tile([0, 0, 1, 2], 25)
    split = SplitFigures("test", 5, gold, np.array([1, 1, 0, 2]))
    found = split.of(_evaluation(gold, given, 4))
    assert found["majority"]["accuracy"] == 0.3
    assert found["confusion"] == ((30, 15, 15, 0), (16, 7, 7, 0), (4, 3, 3, 0), (0, 0, 0, 0))
    assert found["macro_f1"] == label_figures(gold, given)["macro_f1"]
    assert set(found["intervals"]) == {"loss", "accuracy", "balanced_accuracy", "macro_f1", "mcc"}
    for name in ("balanced_accuracy", "macro_f1", "mcc"):
        assert found["intervals"][name].low < found[name] < found["intervals"][name].high
    again = SplitFigures("test", 5, gold, np.array([1, 1, 0, 2])).of(_evaluation(gold, given, 4))
    assert found == again
    assert found["intervals"] != SplitFigures("test", 6, gold, gold).of(_evaluation(gold, given, 4))["intervals"]


def test_rows_with_options_of_their_own_have_an_accuracy_and_no_classes() -> None:
    """A label is a position there: a matrix or an F1 of positions would say nothing of the answers."""
    gold, given = np.repeat([0, 1, 2], [60, 30, 10]), np.tile([0, 0, 1, 2], 25)
    split = SplitFigures("test", 5, gold, gold, np.arange(100) % 3, own_options=True)
    found = split.of(_evaluation(gold, given, 4))
    assert set(found) == {"rows", "intervals", "clients", "by_client"}
    assert set(found["intervals"]) == {"loss", "accuracy"}
    assert set(found["by_client"]) == {"loss", "accuracy", "rows"}


def test_where_every_answer_is_right_only_the_accuracy_has_an_interval() -> None:
    gold = np.tile([0, 1], 10)
    found = SplitFigures("validation", 0, gold, gold).of(_evaluation(gold, gold, 2))
    assert found["macro_f1"] == 1
    assert set(found["intervals"]) == {"accuracy"}
    assert found["intervals"]["accuracy"].low == pytest.approx(0.8389, abs=1e-4)


def test_a_matrix_of_more_than_a_hundred_labels_is_left_out() -> None:
    gold = np.arange(101)
    found = SplitFigures("test", 0, gold, gold).of(_evaluation(gold, np.roll(gold, 1), 101))
    assert "confusion" not in found
    assert found["macro_f1"] == 0


@pytest.mark.parametrize("loss", [0.5, 800.0])
def test_the_perplexity_of_a_language_model_is_over_its_tokens(loss: float) -> None:
    """A loss whose exponential is no number has no perplexity, and the record can still be written."""
    items = np.array([10, 20, 30])
    losses = np.array([0.9, 1.0, 1.1]) * loss * items
    mean = float(losses.sum() / 60)
    result = Evaluation(mean, None, 60, 1.0, None, losses, items, None)
    record = Eval(round=0, split="test", loss=mean, **SplitFigures("test", 0, items, items).of(result))
    json.dumps(record.tree(), allow_nan=False)
    assert record.rows == 3
    assert 0.9 * loss <= record.intervals["loss"].low < mean < record.intervals["loss"].high <= 1.1 * loss
    if loss < 1:
        assert record.perplexity == pytest.approx(math.exp(mean))
        assert record.intervals["perplexity"].low == pytest.approx(math.exp(record.intervals["loss"].low))
    else:
        assert record.perplexity is None
        assert "perplexity" not in record.intervals


def test_figures_by_client_are_those_of_its_rows_alone() -> None:
    """Client 4 has all of its three rows right, client 7 one of two; row 5 is nobody's."""
    gold, given = np.array([0, 1, 1, 0, 1, 0]), np.array([0, 1, 1, 1, 1, 1])
    clients = np.array([4, 4, 4, 7, 7, -1])
    found = SplitFigures("validation", 0, gold, gold, clients).of(_evaluation(gold, given, 2))
    assert found["clients"] == 2
    tree = {name: (value.min, value.median, value.max) for name, value in found["by_client"].items()}
    assert tree == {
        "loss": pytest.approx((0.1, (0.1 + 1.05) / 2, 1.05)),
        "accuracy": (0.5, 0.75, 1.0),
        "balanced_accuracy": (0.5, 0.75, 1.0),
        "macro_f1": pytest.approx((1 / 3, 2 / 3, 1.0)),
        "rows": (2, 2.5, 3),
    }
    nobody = SplitFigures("validation", 0, gold, gold, np.full(6, -1)).of(_evaluation(gold, given, 2))
    assert "by_client" not in nobody


SHOWN = ("exact_match", "token_f1")


def test_scores_of_answers_have_intervals_and_are_told_by_client() -> None:
    """Shares of rows have Wilson's interval; F1 has one by bootstrap."""
    texts, right = ("a cat", "dog", "7", "a grey cat"), [["cat"], ["cat"], ["7", "seven"], ["grey dog"]]
    ones = np.ones(4)
    result = Evaluation(1.0, None, 4, 1.0, None, ones, ones.astype(np.int64), None, row_texts=texts)
    clients = np.array([0, 0, 1, 1])
    nothing = np.zeros(4, dtype=np.int64)
    split = SplitFigures("validation", 0, nothing, nothing, clients, references=right, scores=SHOWN)
    found = split.of(result)
    assert (found["exact_match"], found["token_f1"]) == (0.5, 0.625)
    assert found["intervals"]["exact_match"].low == pytest.approx(wilson(0.5, 4)[0])
    assert found["intervals"]["token_f1"].low < 0.625 < found["intervals"]["token_f1"].high
    spans = {name: (span.min, span.max) for name, span in found["by_client"].items()}
    assert spans["token_f1"] == (0.5, 0.75)
    assert spans["exact_match"] == (0.5, 0.5)
    record = Eval(round=0, split="validation", loss=1.0, **found)
    assert record.rouge_l is None
    assert record.token_f1 == 0.625
