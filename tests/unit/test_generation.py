"""`generation`: learnt as a completion, evaluated by the answers that the model writes, and what is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.task_data import CHAT_TEMPLATE, TASKS, chat_model, review_rows, write_rows
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Eval, Run, records_of
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import TokenTable
from zorba_ray.errors import ConfigError, DataError
from zorba_ray.experiment.asked import evaluate_model, predict_rows
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.experiment.evaluate import Evaluations
from zorba_ray.models import Batch
from zorba_ray.models.decode import prompts_of
from zorba_ray.report.headline import run_tiles
from zorba_ray.report.run_page import run_plots
from zorba_ray.stopwatch import UNWATCHED

TURNS = [
    {"role": role, "content": text}
    for role, text in (("user", "the film"), ("assistant", "good"), ("user", "the plot"), ("assistant", "very poor"))
]


def configured(folder: Path, rows: list[dict[str, Any]], *overrides: str, task: str = "generation") -> ExperimentConfig:
    write_rows(folder, rows)
    return tiny_config(f"data.path={folder}", "data.label_words=[]", *TASKS[task], *overrides)


def set_up(folder: Path, rows: list[dict[str, Any]], *overrides: str, task: str = "generation") -> Setup:
    return prepare(configured(folder, rows, *overrides, task=task))


def batch_of(setup: Setup, count: int = 6) -> Batch:
    return Batch.of(*setup.test.collate(np.arange(count), int(setup.model.loaded.tokenizer.pad_token_id)))


def prompt_texts(setup: Setup) -> list[str]:
    return [setup.model.loaded.tokenizer.decode(prompt) for prompt in prompts_of(batch_of(setup))]


def test_it_is_learnt_as_a_completion_and_asked_by_its_prompt(tmp_path: Path) -> None:
    """The first right answer is learnt; training rows keep no references, as nobody scores them."""
    rows = review_rows(40)
    setup = set_up(tmp_path / "a", rows)
    same = set_up(tmp_path / "b", rows, task="completion")
    table, twin = setup.shards.table, same.shards.table
    assert table.tokens.tolist() == twin.tokens.tolist()
    assert table.scored is not None
    assert twin.scored is not None
    assert table.scored.tolist() == twin.scored.tolist()
    assert table.references is None
    assert setup.test.references == [row["answers"] for row in rows]
    batch = batch_of(setup)
    assert setup.model.evaluate([batch]).loss == same.model.evaluate([batch]).loss
    assert prompt_texts(setup) == [f"<s> {row['text']} it was" for row in rows[:6]]
    answered = set_up(
        tmp_path / "c", rows, 'task.answer="{grade}"', "task.references_column=null", "task.kind=generation"
    )
    assert answered.test.references == [[row["grade"]] for row in rows], "what is learnt is what is right"


def test_an_evaluation_scores_each_row_by_its_own_answers(tmp_path: Path) -> None:
    """Rows are read shortest first; their texts and their right answers must not part."""
    rows = [{**row, "answers": [f"{row['grade']} . {place}"]} for place, row in enumerate(review_rows(24))]
    config = configured(tmp_path / "data", rows, "eval.rows=20", "task.max_new_tokens=6", "task.scores=[token_f1]")
    setup = prepare(config)
    batch = Batch.of(*setup.test.collate(np.arange(20), 0))
    texts = setup.model.decode(batch)
    wanted = []
    for text, row in zip(texts, rows, strict=False):
        given, right = text.replace(".", "").split(), row["answers"][0].replace(".", "").split()
        given, right = ([word for word in words if word not in ("a", "an", "the")] for words in (given, right))
        wanted.append(2 * sum(min(given.count(w), right.count(w)) for w in set(right)) / (len(given) + len(right)))
    told: list[Eval] = []
    Evaluations(setup, [], told.append, UNWATCHED).make(0, "test")
    score = told[0].token_f1
    assert score is not None
    assert score == pytest.approx(np.mean(wanted))
    assert 0 < score < 1
    assert told[0].rows == 20
    assert told[0].exact_match is None


CHATS = ("task.kind=generation", "task.max_new_tokens=3")


def test_answers_of_a_chat_are_its_last_turns(tmp_path: Path) -> None:
    model, rows = f"model.path={chat_model(tmp_path / 'model')}", [{"messages": TURNS}] * 20
    setup = set_up(tmp_path / "data", rows, model, *CHATS, task="chat")
    assert setup.test.references == [["very poor"]] * 20
    assert set(prompt_texts(setup)) == {"the film it was good </s> the plot it was"}
    short = set_up(tmp_path / "data", rows, model, *CHATS, "data.max_length=8", task="chat")
    assert short.test.references == [["good"]] * 20, "of the last turn that is left"
    assert set(prompt_texts(short)) == {"the film it was"}


def test_a_turn_of_the_assistant_ends_where_the_template_says(tmp_path: Path) -> None:
    model = f"model.path={chat_model(tmp_path / 'model', CHAT_TEMPLATE.replace('</s>', '<unk>'))}"
    setup = set_up(tmp_path / "data", [{"messages": TURNS}] * 20, model, *CHATS, task="chat")
    assert setup.model.decoder is not None
    tokenizer = setup.model.loaded.tokenizer
    assert setup.model.decoder.ending.tokens == {tokenizer.eos_token_id, tokenizer.unk_token_id}


def test_a_run_judges_by_its_score(tmp_path: Path) -> None:
    rows = review_rows(32)
    config = configured(
        tmp_path / "data", rows, "rounds=2", "eval.every=1", "eval.metric=token_f1", "eval.keep=best", "zo.lr=0.05"
    )
    run_here(config, tmp_path / "run")
    records = records_of(tmp_path / "run" / "metrics.jsonl", Eval)
    scores = {r.round: r.token_f1 or 0.0 for r in records if r.split == "validation"}
    kept = [r.round for r in records if r.split == "test"][-1]
    assert scores[kept] == max(scores.values())
    run = Run(tmp_path / "run")
    assert [tile.title for tile in run_tiles(run)][1] == "Test token F1"
    assert "Answers: token F1" in [plot.title for plot in run_plots(run)]
    answered = run.answers
    assert answered is not None
    assert answered.rows[0].gold in {" / ".join(row["answers"]) for row in rows}
    for answer in (answered.rows[0].before, answered.rows[0].after):
        assert answer is None or answer.text, "the report shows what was written"
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows[:5]))
    told = predict_rows(str(tmp_path / "run"), tmp_path / "new.jsonl").rows
    assert [row["text"] for row in told] == [f"{row['text']} it was" for row in rows[:5]]
    assert all(row["prediction"] and set(row) == {"row", "text", "prediction"} for row in told)
    again = evaluate_model(str(tmp_path / "run"))
    assert all(again.recorded().values())
    assert {e.split: e.token_f1 for e in again.evals}["validation"] == scores[kept]
    write_rows(tmp_path / "given", rows[:8], ("more",))
    (given,) = evaluate_model(str(tmp_path / "run"), data=tmp_path / "given" / "more.jsonl").evals
    assert given.rows == 8
    assert given.token_f1 is not None


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        ({"answers": []}, [], r"row 2 \(line 2\): column 'answers' \(task\.references_column\) has no right"),
        ({"answers": None}, [], r"row 2 \(line 2\): .* has no right answer; write one, or leave the row out"),
        ({"answers": ["a", " "]}, [], r"row 2 .* holds ' '; a right answer must be text and not empty"),
        ({"answers": 18}, [], r'row 2 .* holds 18; a right answer must be text.*write it as text \(18 as "18"\)'),
        ({"answers": ["very good " * 40]}, [], r"data\.max_length=\d+: the answer of row 2 .*jsonl has 81 tokens"),
        ({}, ["task.references_column=gold"], r"no column 'gold'"),
        ({}, ["task.scores=[number_match]"], r"task\.scores has number_match: row 1 \(line 1\) of v.* has"),
        ({}, ["task.scores=[]"], r"task\.scores"),
        ({}, ["task.scores=[token_f1, token_f1]"], r"must name each score once"),
        ({}, ["task.max_new_tokens=99999"], r"task\.max_new_tokens=99999 behind .* set task\.max_new_tokens=\d+ or"),
        ({}, ["task.references_column=null", "task.kind=generation"], r"needs either .*or task\.references_c"),
        ({}, ["task.messages_column=messages"], r"task\.kind=generation needs either .* or task\.messages_column"),
        ({}, ["task.kind=completion", 'task.answer="{grade}"'], r"task\.references_column=answers with task\.kind"),
        ({}, ["task.until=[\"\"]"], r"task\.until"),
    ],
)  # fmt: skip
def test_refusals(change: dict[str, Any], overrides: list[str], message: str, tmp_path: Path) -> None:
    rows = review_rows(40)
    rows[1] |= change
    with pytest.raises((ConfigError, DataError), match=message):
        set_up(tmp_path / "data", rows, *overrides)


def test_settings_of_answers_belong_to_it(tmp_path: Path) -> None:
    for setting in ("task.max_new_tokens=5", "task.until=[x]", "task.scores=[rouge_l]"):
        name = setting.partition("=")[0]
        with pytest.raises(ConfigError, match=rf"{name}=.* with task\.kind=classification: it belongs to generation"):
            tiny_config(setting)


def test_two_turns_of_the_assistant_in_a_row(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }} </s> {% endfor %}"
    model = f"model.path={chat_model(tmp_path / 'model', template)}"
    rows = [{"messages": [*TURNS, TURNS[-1]]}] * 20
    with pytest.raises(
        DataError, match=r"row 1 \(line 1\) of .*: messages 4 and 5 are both the assistant's.*join them"
    ):
        set_up(tmp_path / "data", rows, model, *CHATS, task="chat")


def test_squad_s_own_form_of_answers_is_read(tmp_path: Path) -> None:
    rows = [{**row, "answers": {"text": row["answers"], "answer_start": [0, 1]}} for row in review_rows(20)]
    setup = set_up(tmp_path / "data", rows)
    assert setup.test.references == [row["answers"] for row in review_rows(20)]


def test_where_the_prompts_end() -> None:
    """By row, with and without a second answer, and without any."""
    marks = [[False, True, False, True], [True, True], [False, False, False], [False, True, True]]
    table = TokenTable.from_lists([[1] * len(row) for row in marks], np.zeros(4, dtype=np.int64), marks)
    assert table.prompt_lengths.tolist() == [3, 0, 3, 1]
    assert dataclasses.replace(table, scored=None).prompt_lengths.tolist() == [4, 2, 3, 3]
