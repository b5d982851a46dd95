"""Whole words and options of a row: their scores are those of a plain loop over texts, however they share sequences."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.pair_checks import PAIRS
from tests.support.task_data import TASKS, review_rows, write_rows
from tests.support.tiny_models import DECODERS, LABEL_WORDS, tiny_loaded, tiny_network
from tests.support.tiny_run import tiny_config
from zorba_ray.config import ModelConfig, TaskConfig
from zorba_ray.data import OptionTable, TokenTable
from zorba_ray.data.options import sequence_heads
from zorba_ray.directions import cpu_directions, direction_backend
from zorba_ray.errors import ConfigError, DataError, ModelError
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.models import Batch, Perturbation, TaskModel
from zorba_ray.models.heads import LabelWordsHead, OptionsHead
from zorba_ray.models.pair_check import check_pairs
from zorba_ray.models.plain_loss import PlainLoss
from zorba_ray.models.row_layout import inputs_of

PROMPTS = [[5, 6, 7, 8], [9, 20, 21], [22, 23], [24, 25, 26, 27, 28]]
OPTIONS: list[list[tuple[int, ...]]] = [
    [(10,), (11, 12, 13), (11, 14)],
    [(15, 16), (17, 16)],
    [(10,), (11,), (12,), (13, 5)],
    [(18, 5, 6, 7), (18,), (18, 5, 6, 8)],
]
LABELS = np.array([2, 0, 3, 1])
TASK = TaskConfig(options_column="options")


def table() -> TokenTable:
    plain = TokenTable.from_lists(PROMPTS, LABELS)
    return dataclasses.replace(plain, options=OptionTable.from_lists(OPTIONS))


def batch(kind: str, rows: int = 4) -> Batch:
    return Batch.of(*table().collate(np.arange(rows), 1 if kind == "opt" else 0))


def task_model(kind: str, task: TaskConfig = TASK) -> TaskModel:
    return TaskModel(tiny_loaded(kind), ModelConfig(), "{text}", (), "all", direction_backend("numpy"), task=task)


def loop(network: Any, row: int, per_token: bool) -> torch.Tensor:
    """Scores of a row's options, one text after the other, without padding."""
    scores = []
    for option in OPTIONS[row]:
        text = torch.tensor([PROMPTS[row] + list(option)])
        likely = network(input_ids=text).logits[0].log_softmax(-1)
        each = [likely[place - 1, text[0, place]] for place in range(len(PROMPTS[row]), text.shape[1])]
        scores.append(sum(each) / (len(each) if per_token else 1))
    return torch.stack(scores)  # type: ignore[arg-type]


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("kind", DECODERS)
def test_scores_are_those_of_a_plain_loop(kind: str, per_token: bool) -> None:
    """To 1e-5: loss, hits, and that a missing option is never chosen."""
    network, model = tiny_network(kind), task_model(kind, TASK.model_copy(update={"per_token": per_token}))
    scores = [loop(network, row, per_token) for row in range(4)]
    given = batch(kind)
    with torch.inference_mode():
        found = model.head.logits(model._backbone.hidden(inputs_of(model.loaded, given)), given)
    for row, wanted in enumerate(scores):
        assert torch.allclose(found[row, : len(wanted)], wanted, atol=1e-5)
        assert bool((found[row, len(wanted) :] == -torch.inf).all())
    losses = [functional.cross_entropy(row, torch.tensor(label)) for row, label in zip(scores, LABELS, strict=True)]
    result = model.evaluate([given])
    assert result.loss == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)
    assert result.accuracy == np.mean([int(row.argmax()) == label for row, label in zip(scores, LABELS, strict=True)])
    assert result.items == 4
    assert 0 < result.spread < float("inf")


def test_options_that_begin_alike_share_a_sequence() -> None:
    assert [len(sequence_heads(options)) for options in OPTIONS] == [1, 2, 1, 1]
    assert sequence_heads([(1,), (2,), (3,)]) == [()]
    arrays = table().collate(np.arange(4), 0)
    assert arrays.ids.shape == (5, 8)
    assert table().lengths.tolist() == [6, 4, 3, 8]
    assert arrays.options is not None
    assert arrays.options.real.sum(axis=2).tolist() == [[1, 3, 2, 0], [2, 2, 0, 0], [1, 1, 1, 2], [4, 1, 4, 0]]


def test_a_batch_does_not_depend_on_how_rows_are_put_together() -> None:
    model, given = task_model("llama"), batch("llama")
    single = [Batch.of(*table().collate(np.array([row]), 0)) for row in range(4)]
    assert model.evaluate(single).loss == pytest.approx(model.evaluate([given]).loss, abs=1e-5)
    assert model.evaluate([given.twice()]).loss == pytest.approx(model.evaluate([given]).loss, abs=1e-5)


def test_words_of_one_token_keep_their_head() -> None:
    """And so their bits; a single longer word changes it for all."""
    build = {"directions": direction_backend("numpy"), "scope": "all"}
    short = TaskModel(tiny_loaded("llama"), ModelConfig(), "{text}", LABEL_WORDS, **build)  # type: ignore[arg-type]
    longer = TaskModel(tiny_loaded("llama"), ModelConfig(), "{text}", ("alpha", "beta good"), **build)  # type: ignore[arg-type]
    assert isinstance(short.head, LabelWordsHead)
    assert isinstance(longer.head, OptionsHead)


def test_words_of_one_token_have_the_same_loss_whole() -> None:
    words = [(10,), (11,), (12,)]
    plain = TokenTable.from_lists(PROMPTS, np.array([0, 1, 2, 0]))
    whole = dataclasses.replace(plain, options=OptionTable.shared(words))
    short = TaskModel(tiny_loaded("opt"), ModelConfig(), "{text}", LABEL_WORDS, "all", direction_backend("numpy"))
    first, second = (Batch.of(*one.collate(np.arange(4), 1)) for one in (plain, whole))
    assert torch.equal(first.ids_BT, second.ids_BT)
    assert task_model("opt").evaluate([second]).loss == pytest.approx(short.evaluate([first]).loss, abs=1e-5)


def test_losses_and_gradients_are_finite_where_options_are_missing() -> None:
    model, given = task_model("llama"), batch("llama")
    prepared = model.prepare(given, frozenset({1, 2}))
    plus, minus = model.pair(prepared, Perturbation(7, 0, 1e-3, "rademacher"))
    assert np.isfinite(plus)
    assert np.isfinite(minus)
    name = next(entry.name for entry in model.replica.manifest.moved("all"))
    tensor = model.loaded.network.get_parameter(name).detach().clone().requires_grad_(True)
    model.training_loss(given, {name: tensor}).backward()
    assert tensor.grad is not None
    assert bool(tensor.grad.isfinite().all())


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_pairs_are_checked_on_options(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_head = OptionsHead.logits

    def check() -> float:
        model = task_model(kind)
        plain = PlainLoss(model, ModelConfig(), "{text}", (), cpu_directions("auto"), TASK)
        return check_pairs(model, plain, [batch(kind), batch(kind, 2)], PAIRS).largest

    assert check() <= 1e-5

    def first_tokens_alone(self: OptionsHead, hidden: torch.Tensor, given: Batch) -> torch.Tensor:
        assert given.options is not None
        real = given.options.real_BCL.clone()
        real[:, :, 1:] = False
        cut = dataclasses.replace(given.options, real_BCL=real)
        return plain_head(self, hidden, dataclasses.replace(given, options=cut))

    monkeypatch.setattr(OptionsHead, "logits", first_tokens_alone)
    with pytest.raises(ModelError, match=r"evaluation .* plain model"):
        check()


# From rows to options ---------------------------------------------------------------------------------------------


def set_up(folder: Path, rows: list[dict[str, Any]], *overrides: str) -> Setup:
    write_rows(folder, rows)
    return prepare(tiny_config(f"data.path={folder}", "data.label_words=[]", *TASKS["multiple_choice"], *overrides))


def test_options_of_different_number(tmp_path: Path) -> None:
    """They stand behind the prompt, with the space that they bring, and the right one is named by place or text."""
    rows = review_rows(40)
    for row in rows[::2]:
        row["right"] = row["options"][row["right"]]
    setup = set_up(tmp_path, rows)
    table, tokenizer = setup.shards.table, setup.model.loaded.tokenizer
    assert table.options is not None
    told = {
        (tokenizer.decode(table.tokens[table.starts[i] + 1 : table.starts[i + 1]]), int(table.labels[i])): [
            tokenizer.decode(list(option)) for option in table.options.of(i)
        ]
        for i in range(len(table))
    }
    assert told == {(f"{row['text']} it was", row["label"]): row["options"] for row in rows}
    assert {len(options) for options in told.values()} == {2, 3, 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"options": []},
            r"row 2 \(line 2\): column 'options' \(task\.options_column\) has 0 option\(s\).*leave the row",
        ),
        ({"options": ["good"]}, r"has 1 option\(s\)"),
        ({"options": "good"}, r"holds 'good' \(str\); write a list of text, in JSON or parquet"),
        ({"options": ["good", " "]}, r"option 1 is ' '; write text"),
        ({"options": ["good", 3]}, r"option 1 is 3; write text"),
        ({"options": ["good", "good"]}, r"'good' stands twice"),
        (
            {"right": 7},
            r"row 2 \(line 2\): column 'right' .* position 7 is beyond the row's \d options \(0 … \d, count",
        ),
        ({"right": -1}, r"position -1 is beyond"),
        ({"right": "fine"}, r"'fine' is none of the row's options; write one of them"),
        ({"right": None}, r"holds None; write the position of the right option"),
        ({"right": True}, r"holds True; write the position"),
        (
            {"options": ["very good " * 40, "bad"], "right": 0},
            r"data\.max_length=\d+: an option of row 2 .* of \w+.jsonl has 80 tokens.*never cut",
        ),
    ],
)
def test_rows_that_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = review_rows(40)
    rows[1] |= change
    with pytest.raises(DataError, match=message):
        set_up(tmp_path / "data", rows)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.label_words=[good, bad]"], r"data\.label_words with task\.kind=multiple_choice"),
        (["task.kind=multiple_choice", "task.options_column=null"], r"needs task\.options_column"),
        (["task.kind=classification"], r"task\.options_column=options with task\.kind=classification"),
        (["data.label_shift=1"], r"data\.label_shift=1 with task\.kind=multiple_choice"),
        (["model.head=label_words"], r"model\.head=label_words with task\.kind=multiple_choice"),
    ],
)
def test_settings_that_contradict(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config("data.label_words=[]", *TASKS["multiple_choice"], *overrides)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'choices'.*template and columns under task"):
        set_up(tmp_path / "data", review_rows(40), "task.options_column=choices")
    with pytest.raises(DataError, match=r"task\.options_column='options': the builtin data has no such column"):
        prepare(tiny_config("data.label_words=[]", *TASKS["multiple_choice"]))
