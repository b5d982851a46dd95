"""A trained model is asked anew: the run's own figures to the bit, predictions row by row, and refusals by name."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.conftest import Cli
from tests.support.model_folders import data_folder, model_folder, run_tree
from tests.support.task_data import COMPLETION, REWARD, TASKS, chat_model, review_rows, write_rows
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Eval, RunDir, read_record, records_of
from zorba_ray.artifacts.answers import SampledAnswers
from zorba_ray.config import config_from_tree
from zorba_ray.data.grammar import TASK_LABEL_WORDS
from zorba_ray.errors import ConfigError, DataError, LedgerError, ModelError, RunDirError
from zorba_ray.experiment.asked import evaluate_model, predict_rows
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.tasks.reward_code import read_reward

WORDS = list(TASK_LABEL_WORDS)


def same(ours: Eval, theirs: Eval, *but: str) -> None:
    """All figures to the bit; the time is another."""
    left = dict.fromkeys(("eval_s", *but))
    a, b = ({**msgspec.structs.asdict(record), **left} for record in (ours, theirs))
    assert a == b


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews, of which the test rows are other ones."""
    folder = write_rows(tmp_path_factory.mktemp("asked") / "data", review_rows(40))
    return write_rows(folder, review_rows(100)[40:], ("test",))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three rounds, with validation and test rows in files."""
    path = tmp_path_factory.mktemp("asked") / "run"
    run_here(tiny_config(f"data.path={data}", "eval.every=1", "eval.rows=null"), path)
    return path


# The run's own numbers -----------------------------------------------------------------------------------------------


def test_a_run_has_its_own_figures_to_the_bit(run: Path) -> None:
    past = {(record.round, record.split): record for record in records_of(RunDir(run).metrics, Eval)}
    for number, splits in ((None, ["validation", "test"]), (2, ["validation"]), (0, ["validation", "test"])):
        found = evaluate_model(str(run), number)
        assert [record.split for record in found.evals] == ["validation", "test"]
        for record in found.evals:
            if record.split in splits:
                same(record, past[3 if number is None else number, record.split])
        assert found.recorded() == dict.fromkeys(splits, True)
    assert past[3, "test"].loss != past[0, "test"].loss


def test_so_has_a_file_of_the_same_rows(run: Path, data: Path, tmp_path: Path) -> None:
    """Intervals and majority class too, also where the run's own data are gone."""
    past = next(r for r in records_of(RunDir(run).metrics, Eval) if (r.round, r.split) == (3, "test"))
    (found,) = evaluate_model(str(run), data=data / "test.jsonl").evals
    assert (found.split, found.rows) == ("test.jsonl", 60)
    same(found, past, "split")
    assert found.majority
    moved = data.rename(tmp_path / "gone")
    try:
        (found,) = evaluate_model(str(run), data=moved / "test.jsonl").evals
        same(found, past, "split")
        with pytest.raises(DataError, match="no such file or folder"):
            evaluate_model(str(run))
    finally:
        moved.rename(data)


def test_tokens_that_a_run_computes_once_are_so_computed_again(data: Path, tmp_path: Path) -> None:
    """Losses depend on it by their rounding."""
    told = "the film was great . the film was poor . the film was good . the film was terrible . {text} It was"
    run_here(tiny_config(f"data.path={data}", f'data.prompt="{told}"', "data.max_length=60"), tmp_path / "run")
    assert "shared_prefix" in read_ledger(RunDir(tmp_path / "run").ledger).header.sections
    assert evaluate_model(str(tmp_path / "run")).recorded() == {"validation": True, "test": True}
    past = next(r for r in records_of(RunDir(tmp_path / "run").metrics, Eval) if (r.round, r.split) == (3, "test"))
    same(evaluate_model(str(tmp_path / "run"), data=data / "test.jsonl").evals[0], past, "split")


@pytest.mark.parametrize("frozen", ["device", pytest.param("host", marks=pytest.mark.slow)])
def test_an_exported_folder_is_the_run(frozen: str, run: Path, data: Path, tmp_path: Path) -> None:
    """And so is a plain model before training."""
    replay_run(run, None, tmp_path / "model", None)
    settings = tiny_config(f"data.path={data}", "eval.rows=null", f"memory.frozen={frozen}", "zo.scope=auto")
    past = {(record.round, record.split): record for record in records_of(RunDir(run).metrics, Eval)}
    for source, number in ((str(tmp_path / "model"), 3), ("builtin", 0)):
        for record in evaluate_model(source, settings=settings).evals:
            same(record, past[number, record.split], "round", "clients", "by_client")
    found = evaluate_model("builtin", data=data / "test.jsonl", settings=settings)
    assert found.evals[0].loss == past[0, "test"].loss
    assert not found.evals[0].majority, "whose training rows?"
    assert found.recorded() == {}


@pytest.mark.slow
def test_adapters_are_put_on_their_base_model(data: Path, tmp_path: Path) -> None:
    adapters = ["model.lora.rank=2", "model.lora.targets=query", "zo.scope=lora", "zo.lr=0.3"]
    settings = tiny_config(f"data.path={data}", *adapters)
    run_here(settings, tmp_path / "run")
    replay_run(tmp_path / "run", None, tmp_path / "adapter", None)
    replay_run(tmp_path / "run", None, tmp_path / "merged", None, merged=True)
    whole = evaluate_model(str(tmp_path / "run")).evals[1]
    same(evaluate_model(str(tmp_path / "adapter"), settings=settings).evals[1], whole, "round")
    merged = evaluate_model(str(tmp_path / "merged"), settings=settings).evals[1]
    assert merged.loss == pytest.approx(whole.loss, abs=1e-5)
    assert evaluate_model("builtin", settings=settings).evals[1].loss != pytest.approx(whole.loss, abs=1e-5)
    with pytest.raises(ConfigError, match=r"set model\.lora\.rank=2 model\.lora\.alpha=16 and model\.lora\.targets"):
        evaluate_model(str(tmp_path / "adapter"), settings=tiny_config(f"data.path={data}"))


def test_label_prompts_stay_those_of_the_start(tmp_path: Path) -> None:
    """Read by the trained encoder they would be others, and so would every figure."""
    model = model_folder(tmp_path / "model", "bert")
    tree = run_tree(model, data_folder(tmp_path / "data"), zo={"lr": 0.05, "directions": 2}, rounds=2)
    settings = config_from_tree(tree, "test")
    run_here(settings, tmp_path / "run")
    replay_run(tmp_path / "run", None, tmp_path / "out", None)
    past = evaluate_model(str(tmp_path / "run"))
    assert past.recorded() == {"validation": True, "test": True}
    found = evaluate_model(str(tmp_path / "out"), settings=settings)
    same(found.evals[1], past.evals[1], "round")
    assert found.trained.remarks == (f"label prompts are read by model.path={model}, as before training",)
    anew = settings.model_copy(update={"model": settings.model.model_copy(update={"path": str(tmp_path / "out")})})
    assert evaluate_model(str(tmp_path / "out"), settings=anew).evals[1].loss != past.evals[1].loss
    other = model_folder(tmp_path / "other", "roberta")
    with pytest.raises(ModelError, match=r"another shape than model\.path=.*set model\.path="):
        evaluate_model(str(other), settings=settings)


# Predictions ---------------------------------------------------------------------------------------------------------


def test_predictions_are_the_evaluations_answers(run: Path, data: Path) -> None:
    """In the order of the file, with probabilities whose logarithms are the losses; labels are not looked at."""
    rows = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    said = predict_rows(str(run), data / "test.jsonl").rows
    assert [row["row"] for row in said] == list(range(1, 61))
    assert [row["text"] for row in said] == [f"{row['text']} It was" for row in rows]
    (figures,) = evaluate_model(str(run), data=data / "test.jsonl").evals
    right = sum(answer["prediction"] == row["grade"] for answer, row in zip(said, rows, strict=True))
    assert right / 60 == figures.accuracy
    for answer in said:
        assert list(answer["scores"]) == WORDS
        assert math.fsum(answer["scores"].values()) == pytest.approx(1, abs=1e-12)
        assert answer["prediction"] == max(answer["scores"], key=answer["scores"].__getitem__)
    losses = [-math.log(answer["scores"][row["grade"]]) for answer, row in zip(said, rows, strict=True)]
    assert np.mean(losses) == pytest.approx(figures.loss, abs=1e-6)


CHOOSING = ("whole words", "multiple_choice", "reward", "reward of options")
WRITING = ("generation", "reward of written answers")


@pytest.mark.parametrize(
    "task",
    [
        name if name in ("multiple_choice", "completion") else pytest.param(name, marks=pytest.mark.slow)
        for name in TASKS
        if name != "classification"
    ],
)
def test_every_task_is_asked(task: str, tmp_path: Path) -> None:
    rows = review_rows(12)
    folder = write_rows(tmp_path / "data", rows)
    words = [] if task in ("whole words", "reward") else ["data.label_words=[]"]
    model = [f"model.path={chat_model(tmp_path / 'model')}"] if task == "chat" else []
    run_here(tiny_config(f"data.path={folder}", *words, *model, *TASKS[task], "rounds=1"), tmp_path / "run")
    found = evaluate_model(str(tmp_path / "run"))
    assert found.recorded() == {"validation": True, "test": True}
    said = predict_rows(str(tmp_path / "run"), folder / "test.jsonl").rows
    if task in WRITING:
        assert all(answer["prediction"] and answer.keys() == {"row", "text", "prediction"} for answer in said)
    elif task in CHOOSING:
        options = [list(said[0]["scores"]) if not words else row["options"] for row in rows]
        assert [list(answer["scores"]) for answer in said] == options
        gold = [own[row["label"]] for own, row in zip(options, rows, strict=True)]
        right = [answer["prediction"] == word for answer, word in zip(said, gold, strict=True)]
        assert np.mean(right) == found.evals[1].accuracy
    else:
        assert all(answer["prediction"] is None and "scores" not in answer for answer in said)
        total = sum(answer["loss"] * answer["tokens"] for answer in said) / sum(answer["tokens"] for answer in said)
        assert total == pytest.approx(found.evals[1].loss, abs=1e-6)
        assert all(answer["perplexity"] == math.exp(answer["loss"]) for answer in said)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["prompts", "chats"])
def test_a_generation_writes_with_and_without_right_answers(kind: str, tmp_path: Path) -> None:
    """The same texts as in the evaluation, from the prompt alone."""
    rows = review_rows(12)
    folder = write_rows(tmp_path / "data", rows)
    asked = COMPLETION if kind == "prompts" else (f"model.path={chat_model(tmp_path / 'model')}", *TASKS["chat"])
    more = ("task.kind=generation", "task.max_new_tokens=6", "data.label_words=[]", "rounds=1")
    run_here(tiny_config(f"data.path={folder}", *more, *asked), tmp_path / "run")
    assert evaluate_model(str(tmp_path / "run")).recorded() == {"validation": True, "test": True}
    kept = read_record(RunDir(tmp_path / "run").answers, SampledAnswers)
    said = predict_rows(str(tmp_path / "run"), folder / "test.jsonl").rows
    assert [row.after.text for row in kept.rows if row.after] == [answer["prediction"] for answer in said]
    assert {row.after.right for row in kept.rows if row.after} <= {True, False}
    assert [(row.prompt, row.gold) for row in kept.rows] == [
        (answer["text"], row["grade"]) for answer, row in zip(said, rows, strict=True)
    ]
    assert all(answer.keys() == {"row", "text", "prediction"} for answer in said)
    text = {"text": rows[3]["text"]}
    bare = text if kind == "prompts" else {"messages": rows[3]["messages"][:1]}
    write_rows(tmp_path / "bare", [bare], ("test",))
    (alone,) = predict_rows(str(tmp_path / "run"), tmp_path / "bare" / "test.jsonl").rows
    assert alone == {**said[3], "row": 1}
    long = {"text": "film " * 200} if kind == "prompts" else {"messages": [{"role": "user", "content": "film " * 200}]}
    write_rows(tmp_path / "bare", [bare, long], ("test",))
    if kind == "prompts":
        assert predict_rows(str(tmp_path / "run"), tmp_path / "bare" / "test.jsonl").cut.rows == 1
        return
    with pytest.raises(
        DataError, match=r"data\.max_length=32: row 2 \(line 2\) of test\.jsonl has \d+ tokens, and turns are never"
    ):
        predict_rows(str(tmp_path / "run"), tmp_path / "bare" / "test.jsonl")


def test_what_is_predicted_needs_no_answer(run: Path, tmp_path: Path) -> None:
    """A column of labels may be there, and hold anything."""
    (tmp_path / "new.csv").write_text('text,label\n"here is the film , it was great",?\n')
    assert predict_rows(str(run), tmp_path / "new.csv").rows[0]["prediction"] in WORDS
    (tmp_path / "new.csv").write_text("text\nhere is the film\n" + "word " * 200 + "\n")
    found = predict_rows(str(run), tmp_path / "new.csv")
    assert (found.cut.rows, found.cut.total, len(found.rows)) == (1, 2, 2)


JUDGE = "def nearness(texts, references):\n    return [float(a[0] == b[0]) for a, b in zip(texts, references)]\n"


@pytest.mark.slow
def test_a_reward_is_computed_where_its_code_is_allowed(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the run had it; to predict needs no code."""
    monkeypatch.chdir(tmp_path)
    Path("judge.py").write_text(JUDGE)
    code = read_reward("judge:nearness", ["judge"], tmp_path)
    settings = tiny_config(f"data.path={data}", *REWARD, "task.reward=judge:nearness", "rounds=1", "eval.rows=16")
    run_here(settings, Path("run"), reward=code)
    past = next(r for r in records_of(RunDir(Path("run")).metrics, Eval) if (r.round, r.split) == (1, "test"))
    assert past.reward is not None
    same(evaluate_model("run", reward=code).evals[1], past)
    refused = cli("evaluate", "run")
    assert (refused.code, "zorba-ray evaluate run --allow-code judge" in refused.err) == (2, True)
    assert "reward" in cli("evaluate", "run", "--allow-code", "judge").out
    with pytest.raises(ConfigError, match="is code that is not of zorba-ray"):
        evaluate_model("run")
    assert {row["prediction"] for row in predict_rows("run", data / "test.jsonl").rows} <= set(WORDS)
    Path("judge.py").write_text(JUDGE.replace("==", "!="))
    with pytest.raises(LedgerError, match=r"judge\.py is not the code that the run had; put it back as it was"):
        evaluate_model("run", reward=read_reward("judge:nearness", ["judge"], tmp_path))


# The commands --------------------------------------------------------------------------------------------------------


def test_the_commands(cli: Cli, run: Path, data: Path, tmp_path: Path) -> None:
    shown = cli("evaluate", run)
    assert shown.code == 0, shown.err
    assert "95 % interval" in shown.out
    assert "majority class" in shown.out
    assert "loss and accuracy are those that the run recorded, to the bit" in shown.out
    tree = json.loads(cli("evaluate", run, "--round", 2, "--data", data / "test.jsonl", "--json").out)
    assert [(record["round"], record["split"], record["rows"]) for record in tree["evals"]] == [(2, "test.jsonl", 60)]
    out = tmp_path / "out.jsonl"
    assert cli("predict", run, "--data", data / "test.jsonl", "-o", out).out == f"wrote {out}: 60 rows\n"
    lines = out.read_text("utf-8")
    assert [json.loads(line)["row"] for line in lines.splitlines()] == list(range(1, 61))
    again = cli("predict", run, "--data", data / "test.jsonl", "-o", out)
    assert (again.code, out.read_text("utf-8")) == (2, lines)
    assert "the file exists; name another, or replace it with --force" in again.err
    assert cli("predict", run, "--data", data / "test.jsonl", "-o", out, "--force").code == 0
    (tmp_path / "odd.jsonl").write_text('{"text": "\\u001b[2J\\u202e caf\\u00e9"}\n')
    printed = cli("predict", run, "--data", tmp_path / "odd.jsonl", "-o", "-")
    assert printed.out.isascii()
    assert json.loads(printed.out)["text"] == "\x1b[2J\u202e café It was"


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        ("", "new.csv", r"--data=\S*new\.csv: the file is empty"),
        ("text,label\n", "new.csv", "it has no rows"),
        ("words,label\na,0\n", "new.csv", r"has no column 'text' \(columns: 'words', 'label'\).*rename or add it"),
        ("text\nfilm\n", "new.csv", r"has no column 'label'"),
        (
            "text,label\nfilm,good\nfilm,superb\n",
            "new.csv",
            r"row 2 \(line 3\), column 'label': label 'superb' is neither in data\.label_words",
        ),
        (
            "text,label\nfilm,9\n",
            "new.csv",
            r"row 1 \(line 2\), column 'label': label '9' of the new\.csv split has no entry",
        ),
        ("text,label\nfilm,\n", "new.csv", r"row 1 \(line 2\), column 'label': 1 row\(s\) of new\.csv have no label"),
        ("text,label\nfilm,good,1\n", "new.csv", r"row 1 \(line 2\) has 3 fields"),
        ('{"text": 7, "label": 0}\n', "new.jsonl", r"row 1 \(line 1\) has 7 \(int\), not text, in column 'text'"),
        ("nothing", "new.txt", r"--data=\S*new\.txt: \.txt is not one of \.parquet, \.jsonl, \.json, \.csv"),
        (None, "new.csv", r"--data=\S*new\.csv: no such file"),
    ],
)
def test_rows_that_cannot_serve(content: str | None, name: str, why: str, run: Path, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=why):
        evaluate_model(str(run), data=tmp_path / name)


def test_nothing_is_written_where_rows_are_refused(cli: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("words\na\n")
    refused = cli("predict", run, "--data", tmp_path / "new.csv", "-o", tmp_path / "out.jsonl")
    assert (refused.code, sorted(file.name for file in tmp_path.iterdir())) == (2, ["new.csv"])
    assert "has no column 'text'" in refused.err
    nowhere = cli("predict", run, "--data", tmp_path / "new.csv", "-o", tmp_path / "no" / "out.jsonl")
    assert "name a file in a folder that exists" in nowhere.err


def test_what_belongs_to_a_run_and_what_to_a_model(cli: Cli, run: Path, tmp_path: Path) -> None:
    settings = tiny_config()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"source": str(run), "settings": settings}, "is a run and has its own settings; leave --config out"),
        ({"source": "builtin"}, r"is no run directory\. For a model name a run file too"),
        ({"source": "builtin", "round": 1, "settings": settings}, "--round=1: builtin is no run directory"),
        ({"source": "builtin", "settings": settings, "base": "elsewhere"}, "--model=elsewhere: builtin is no run"),
        ({"source": str(run), "round": 9}, "--round 9: the ledger of .* ends at round 3"),
        ({"source": str(tmp_path / "none"), "settings": settings}, "no such folder"),
    ]
    for arguments, why in refused:
        with pytest.raises((ConfigError, RunDirError), match=why):
            evaluate_model(**arguments)
    assert "settings are of a model with --config" in cli("evaluate", run, "zo.lr=1").err
    replay_run(run, None, tmp_path / "model", None)
    with pytest.raises(LedgerError, match="weights"):
        evaluate_model(str(run), base=str(tmp_path / "model"))
    assert evaluate_model("builtin", settings=settings).evals[0].round == 0


def test_data_that_changed_are_not_the_runs(run: Path, data: Path) -> None:
    file = data / "train.jsonl"
    old = file.read_text()
    file.write_text(old.replace("the", "this", 1))
    try:
        with pytest.raises(LedgerError, match=r"holds other training rows than the run had.*name a file of rows"):
            evaluate_model(str(run))
    finally:
        file.write_text(old)


def test_a_model_that_says_nothing_is_no_prediction(run: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zorba_ray.errors import Diverged
    from zorba_ray.models import TaskModel

    real = TaskModel.evaluate
    monkeypatch.setattr(
        TaskModel, "evaluate", lambda *args, **more: dataclasses.replace(real(*args, **more), loss=math.nan)
    )
    with pytest.raises(Diverged):
        predict_rows(str(run), data / "test.jsonl")
