"""`completion`: the loss of the answer's tokens alone, and answers that cannot be learnt are refused."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.support.pair_checks import PAIRS, batches, checked_model
from tests.support.task_data import COMPLETION, review_rows, write_rows
from tests.support.tiny_models import DECODERS, LABEL_WORDS, tiny_batch, tiny_loaded, tiny_network, tiny_task_model
from tests.support.tiny_run import tiny_config
from zorba_ray.config import ModelConfig, TaskConfig
from zorba_ray.directions import cpu_directions, direction_backend
from zorba_ray.errors import ConfigError, DataError, ModelError
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.models import Batch, TaskModel, heads
from zorba_ray.models.pair_check import check_pairs
from zorba_ray.models.plain_loss import PlainLoss

TASK = TaskConfig(answer="{output}")


def set_up(folder: Path, rows: list[dict[str, Any]], *overrides: str) -> Setup:
    write_rows(folder, rows)
    return prepare(tiny_config(f"data.path={folder}", "data.label_words=[]", *COMPLETION, *overrides))


def answers(setup: Setup) -> list[str]:
    """The scored tokens of each training row, as text."""
    table, tokenizer = setup.shards.table, setup.model.loaded.tokenizer
    assert table.scored is not None
    parts = [slice(a, b) for a, b in zip(table.starts, table.starts[1:], strict=False)]
    return [tokenizer.decode(table.tokens[part][table.scored[part]]) for part in parts]


def test_the_answer_and_the_end_of_text_are_scored_and_nothing_else(tmp_path: Path) -> None:
    rows = review_rows(40)
    setup = set_up(tmp_path, rows)
    assert sorted(answers(setup)) == sorted(f"{row['grade']} </s>" for row in rows)
    assert setup.model.evaluate([Batch.of(*setup.shards.table.collate(setup.shards.rows[0], 0))]).accuracy is None


def test_a_long_row_loses_words_of_its_prompt_and_none_of_its_answer(tmp_path: Path) -> None:
    rows = review_rows(40)
    setup = set_up(tmp_path, rows, "data.max_length=9")
    assert setup.cuts["train"].rows > 0
    assert int(setup.shards.table.lengths.max()) == 9
    assert sorted(answers(setup)) == sorted(f"{row['grade']} </s>" for row in rows)


@pytest.mark.parametrize("kind", DECODERS)
def test_the_loss_is_that_of_the_plain_model(kind: str) -> None:
    """Against the network row by row, without padding, with -100 in the places of the prompt."""
    model = TaskModel(
        tiny_loaded(kind), ModelConfig(), "{text}", (), "all", direction_backend("numpy"), task=TASK
    )  # fmt: skip
    batch, network = tiny_batch(kind, 4, 7), tiny_network(kind)
    marks = torch.arange(7)[None] >= torch.tensor([[1], [4], [2], [3]])
    total, items = 0.0, 0
    for ids, mask, scored in zip(batch.ids_BT, batch.mask_BT, marks, strict=True):
        real = mask.bool()
        wanted = ids.masked_fill(~scored, -100)[real][None]
        count = int((wanted[:, 1:] != -100).sum())
        total += float(network(input_ids=ids[real][None], labels=wanted).loss) * count
        items += count
    found = model.evaluate([dataclasses.replace(batch, scored_BT=marks)])
    assert found.items == items
    assert found.loss == pytest.approx(total / items, abs=1e-5)


def test_the_judge_adds_up_a_large_vocabulary_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As exactly as fp32 allows: other orders of the sum over 50,000 words were 1e-4 off, and right models refused."""
    model, batch = tiny_task_model("llama", head="lm"), tiny_batch("llama", 4, 11, "none")
    logits = 5 * torch.randn(4, 11, 50_000, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(model.loaded.network, "forward", lambda **_: SimpleNamespace(logits=logits))
    plain = PlainLoss(model, ModelConfig(head="lm"), "{text}", LABEL_WORDS, cpu_directions("auto"), TASK)
    exact = functional.cross_entropy(logits[:, :-1].flatten(0, 1).double(), batch.ids_BT[:, 1:].flatten())
    assert plain(batch) == pytest.approx(float(exact), abs=1e-5)


def completion_check(model: TaskModel) -> float:
    plain = PlainLoss(model, ModelConfig(), "{text}", LABEL_WORDS, cpu_directions("auto"), TASK)
    marked = [
        dataclasses.replace(batch, scored_BT=torch.arange(batch.ids_BT.shape[1]) >= batch.mask_BT.sum(1)[:, None] // 2)
        for batch in batches(model)
    ]
    return check_pairs(model, plain, marked, PAIRS).largest


def test_pairs_are_checked_on_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completion_check(checked_model(tiny_loaded("llama"), head="lm")) <= 1e-5
    counted = heads._counted
    monkeypatch.setattr(heads, "_counted", lambda batch: counted(batch).roll(1, 1))  # one token too late
    with pytest.raises(ModelError, match=r"evaluation .* plain model"):
        completion_check(checked_model(tiny_loaded("llama"), head="lm"))


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        ({"grade": " "}, [], r"task\.answer: row 2 .* of \w+.jsonl has no answer: .* write one, or leave the row out"),
        (
            {"grade": "very good " * 40}, [],
            r"data\.max_length=\d+.*answer of row 2 .*jsonl has 81 tokens.*never cut: set data\.max_length to 84",
        ),
        ({"grade": None}, [], r"row 2 \(line 2\) has no text in column 'grade'"),
        ({}, ['task.answer="{output}"'], r"no column 'output' .*template and columns under task"),
        ({}, ["data.label_shift=0.5"], r"data\.label_shift=0\.5 with task\.kind=completion"),
        ({}, ["task.messages_column=chat"], r"needs either task\.answer.*or task\.messages_column"),
        ({}, ["task.per_token=true"], r"task\.per_token=true with task\.kind=completion"),
    ],
)  # fmt: skip
def test_refusals(change: dict[str, Any], overrides: list[str], message: str, tmp_path: Path) -> None:
    rows = review_rows(40)
    rows[1] |= change
    with pytest.raises((ConfigError, DataError), match=message):
        set_up(tmp_path / "data", rows, *overrides)


def test_an_encoder_has_no_next_token() -> None:
    with pytest.raises(ConfigError, match=r"task\.kind=completion needs a causal LM, and model\.path=bert is an enc"):
        TaskModel(tiny_loaded("bert"), ModelConfig(), "{text}", (), "all", direction_backend("numpy"), task=TASK)
