"""Runs whose objective is a reward: they move θ, give one SHA-256 everywhere, and refuse what would make it another."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from tests.conftest import Cli
from tests.support.task_data import REWARD, TASKS, review_rows, write_rows
from tests.support.tiny_run import batches_of, run_here, tiny_config
from zorba_ray.artifacts import Eval, Summary, record_of
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Interrupted, LedgerError, LostClients, ModelError, RewardError
from zorba_ray.experiment.backends import ray_backend
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.models import Perturbation
from zorba_ray.models.paired import PairedBackbone
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.tasks.reward_code import RewardCode, read_reward
from zorba_ray.tasks.rewards import exact_match

FEW = ("rounds=3", "eval.every=3", "data.train_rows=64", "eval.rows=16", "federation.workers=2")
JUDGE = """
def nearness(texts, references):
    order = ["terrible", "poor", "good", "great"]
    return [1 - abs(order.index(text) - order.index(right)) / 3 for text, right in zip(texts, references)]
"""
FAILING = """
calls = []


def failing(texts, references):
    calls.append(texts)
    if len(texts) == 8 and len(calls) > 12:
        raise ValueError("no such word")
    return [1.0] * len(texts)
"""


def config(*overrides: str) -> ExperimentConfig:
    return tiny_config(*FEW, *REWARD, *overrides)


def judge(folder: Path, source: str = JUDGE) -> RewardCode:
    (folder / "judge.py").write_text(source, "utf-8")
    return read_reward("judge:nearness", ["judge"], folder)


def written_config(folder: Path) -> ExperimentConfig:
    """Of answers that the model writes."""
    data = write_rows(folder / "data", review_rows(32))
    return tiny_config(f"data.path={data}", "data.label_words=[]", *TASKS["reward of written answers"], "rounds=2")


def last_eval(summary: dict[str, Any]) -> Eval:
    return record_of(Summary, summary, "summary").evaluations["final"]


def test_the_scalars_are_differences_of_the_mean_reward() -> None:
    setup = prepare(config("data.batch_size=16", "zo.difference=central"))
    (batch,), model = batches_of(setup, 0), setup.model
    move = Perturbation(3, 0, 0.1, "rademacher")
    losses = model.pair(model.prepare(batch, frozenset({1, 4})), move)
    plain = model.evaluate([batch])
    assert plain.row_rewards is not None
    assert plain.row_labels is not None
    assert plain.accuracy is not None
    assert plain.row_rewards.mean() == plain.accuracy
    words = setup.config.data.label_words
    assert batch.references == tuple((words[label],) for label in batch.labels_B.tolist())
    for loss in losses:  # of 16 rows: a share of right ones, with the sign turned
        assert -1 <= loss <= 0
        assert loss * 16 == round(loss * 16)
    still = model.losses([model.prepare(batch, frozenset({1}), 1)], Perturbation(3, 0, 0.0, "rademacher"))
    assert still == [(-plain.accuracy,)]


def test_written_answers_are_rewarded_at_both_signs(tmp_path: Path) -> None:
    setup = prepare(written_config(tmp_path))
    (batch,), model = batches_of(setup, 0), setup.model
    prepared = model.prepare(batch, frozenset(range(6)))
    assert prepared.hidden_BTH is None, "nothing is computed that no text needs"
    move = Perturbation(3, 0, 0.5, "rademacher")
    plus, minus = model.decode_pair(prepared, move)
    assert plus != minus
    assert batch.references is not None
    right = [row[0] for row in batch.references]
    assert model.pair(prepared, move) == (-fmean(exact_match(plus, right)), -fmean(exact_match(minus, right)))
    plain = model.evaluate([batch])
    assert plain.row_rewards is not None
    assert plain.row_rewards.tolist() == exact_match(model.decode(batch), right)
    assert model.losses([prepared], Perturbation(3, 0, 0.0, "rademacher")) == [(-plain.row_rewards.mean(),) * 2]


def test_a_run_is_the_same_after_a_resume_and_in_a_replay(tmp_path: Path) -> None:
    code = judge(tmp_path)
    own = config("task.reward=judge:nearness")
    straight = run_here(own, tmp_path / "straight", reward=code)
    assert straight["status"] == "finished"
    assert straight["final_loss"] != straight["start_loss"]
    asked: list[bool] = []

    def after_a_round() -> bool:
        asked.append(True)
        return len(asked) > 1

    with pytest.raises(Interrupted):
        run_here(own, tmp_path / "stopped", should_stop=after_a_round, reward=code)
    (tmp_path / "judge.py").write_text(JUDGE + "\n", "utf-8")
    other = read_reward("judge:nearness", ["judge"], tmp_path)
    with pytest.raises(LedgerError, match=r"section reward: the file of task\.reward is not the one"):
        run_here(own, tmp_path / "stopped", reward=other)
    resumed = run_here(own, tmp_path / "stopped", reward=code)
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    (tmp_path / "judge.py").unlink()  # a replay needs no reward: the scalars are on record
    assert replay_run(tmp_path / "stopped", None, None, None).digest == straight["weights_sha256"]
    section = read_ledger(tmp_path / "straight" / "ledger.zl").header.sections["reward"]
    assert section.content == code.digest
    assert not section.required


def test_a_run_without_a_reward_has_no_byte_of_it(tmp_path: Path) -> None:
    run_here(tiny_config(*FEW, "rounds=1"), tmp_path / "run")
    assert "reward" not in read_ledger(tmp_path / "run" / "ledger.zl").header.sections


@pytest.mark.slow
def test_written_answers_on_ray_equal_the_sequential_ones(ray_cluster: None, tmp_path: Path) -> None:
    own = written_config(tmp_path)
    here, there = run_here(own, tmp_path / "here"), run_here(own, tmp_path / "there", ray_backend)
    assert there["weights_sha256"] == here["weights_sha256"]
    assert here["final_loss"] != here["start_loss"]


def test_a_run_on_ray_equals_the_sequential_one(ray_cluster: None, tmp_path: Path) -> None:
    """The code goes to the workers by value: its file is gone."""
    code = judge(tmp_path)
    (tmp_path / "judge.py").unlink()
    own = config("task.reward=judge:nearness")
    here = run_here(own, tmp_path / "here", reward=code)
    there = run_here(own, tmp_path / "there", ray_backend, reward=code)
    assert there["weights_sha256"] == here["weights_sha256"]
    assert (tmp_path / "there" / "ledger.zl").read_bytes() == (tmp_path / "here" / "ledger.zl").read_bytes()


def test_an_evaluation_tells_the_reward_and_its_interval(tmp_path: Path) -> None:
    summary = run_here(config("eval.metric=reward", "eval.keep=best"), tmp_path / "run")
    last = last_eval(summary)
    assert last.reward is not None
    assert last.reward == last.accuracy  # exact match of label words
    span = last.intervals["reward"]
    assert span.low <= last.reward <= span.high
    assert last.by_client["reward"] == last.by_client["accuracy"]
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert all(-1 <= record["loss"] <= 0 for record in records if record["kind"] == "round")


def test_options_of_a_row_are_told_as_they_are_written(tmp_path: Path) -> None:
    folder = write_rows(tmp_path / "data", review_rows(32))
    setup = prepare(tiny_config(f"data.path={folder}", "data.label_words=[]", *TASKS["reward of options"]))
    batch = batches_of(setup, 0)[0]
    assert batch.references is not None
    assert batch.choices is not None
    for label, right, choices in zip(batch.labels_B.tolist(), batch.references, batch.choices, strict=True):
        assert right == (choices[label],)
    assert {len(choices) for each in range(4) for choices in batches_of(setup, each)[0].choices or ()} >= {2, 3}


def test_a_reward_that_fails_at_a_row_costs_that_client_the_round(tmp_path: Path) -> None:
    """Where all do, the run ends with what the function said; the ledger keeps what there is."""
    (tmp_path / "judge.py").write_text(FAILING, "utf-8")
    code = read_reward("judge:failing", ["judge"], tmp_path)
    notes: list[dict[str, Any]] = []
    with pytest.raises(
        LostClients, match=r"RewardError: task\.reward=judge:failing: it raised ValueError: no such word"
    ):
        run_here(config("task.reward=judge:failing"), tmp_path / "run", emit=notes.append, reward=code)
    assert read_ledger(tmp_path / "run" / "ledger.zl").last_round < 3
    assert json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))["status"] == "lost_clients"


def test_a_reward_that_is_drawn_by_chance_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(
        "import random\n\n\ndef luck(texts, references):\n    return [random.random() for _ in texts]\n", "utf-8"
    )
    code = read_reward("judge:luck", ["judge"], tmp_path)
    with pytest.raises(RewardError, match=r"asked twice, it gave .* \(row 1 of a batch of 8 rows, text '"):
        run_here(config("task.reward=judge:luck"), tmp_path / "run", reward=code)
    assert not (tmp_path / "run" / "ledger.zl").exists()


def test_pairs_are_checked_by_the_loss_of_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reward of a wrong pair may be right by chance, its loss is not."""
    whole = PairedBackbone.perturbed
    monkeypatch.setattr(PairedBackbone, "perturbed", lambda *given: [1.01 * hidden for hidden in whole(*given)])
    with pytest.raises(ModelError, match="a loss of this program is not the model's own"):
        prepare(config())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=fedavg", "zo.perturbation_scale=0.001"], "reward with method=fedavg: a reward has no derivative"),
        (["zo.scope=auto"], "zo.scope=auto with task.kind=reward: the choice goes by the curvature"),
        (["task.kind=classification"], "task.reward with task.kind=classification"),
        (["task.reward=null", "task.kind=reward"], "task.kind=reward needs task.reward"),
        (["task.reward=judge"], "task.reward"),
        (["model.head=lm"], "task.kind=reward with model.head=lm: a text has no answer"),
        (["data.label_shift=0.5"], "data.label_shift=0.5 with task.kind=reward"),
        (["eval.metric=perplexity"], "eval.metric=perplexity with task.kind=reward"),
    ],
)
def test_settings_that_a_reward_cannot_have_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(*overrides)


def test_a_reward_is_no_figure_of_another_task() -> None:
    with pytest.raises(ConfigError, match=r"eval\.metric=reward with task\.kind=classification"):
        tiny_config("eval.metric=reward")


def test_the_command_says_what_allows_a_module(cli: Cli, tiny_tree: dict[str, Any], tmp_path: Path) -> None:
    judge(tmp_path)
    tiny_tree["task"] = {"reward": "judge:nearness"}
    tiny_tree["zo"] |= {"perturbation_scale": 0.1}
    file = tmp_path / "quiz.yaml"
    file.write_text(yaml.safe_dump(tiny_tree), "utf-8")
    folder = tmp_path / "r"
    refused = cli("run", file, "--run-dir", folder)
    assert refused.code == 2
    command = f"zorba-ray run {file} --run-dir {folder} --allow-code judge"
    assert f"run it so: {command}" in refused.err
    assert not folder.exists()
    assert cli("allocate", file).code == 2
    assert cli("lr", file).code == 2
    assert cli(*command.split()[1:]).code == 0
    assert last_eval(json.loads((folder / "summary.json").read_text("utf-8"))).reward is not None
    page = (folder / "report.html").read_text("utf-8")
    assert "reward" in page


def test_a_sweep_names_every_reward_that_must_be_allowed(cli: Cli, tiny_tree: dict[str, Any], tmp_path: Path) -> None:
    judge(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_tree), "utf-8")
    sweep = {
        "name": "rewards",
        "run": "tiny.yaml",
        "space": {"task.reward": {"grid": ["zorba_ray.tasks.rewards:exact_match", "judge:nearness"]}},
        "metric": {"name": "validation_reward", "mode": "max"},
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep), "utf-8")
    refused = cli("sweep", file, "--dry-run")
    assert refused.code == 2
    assert "task.reward=judge:nearness" in refused.err
    assert cli("sweep", file, "--dry-run", "--allow-code", "judge").code == 0


@pytest.mark.slow
def test_a_comparison_chooses_rates_by_the_reward(cli: Cli, tiny_tree: dict[str, Any], tmp_path: Path) -> None:
    judge(tmp_path)
    tiny_tree["task"] = {"reward": "judge:nearness"}
    tiny_tree["zo"] |= {"perturbation_scale": 0.1}
    tiny_tree["memory"] = {"frozen": "device"}
    file, folder = tmp_path / "tiny.yaml", tmp_path / "c"
    file.write_text(yaml.safe_dump(tiny_tree), "utf-8")
    asked = ("compare", file, "--methods", "zorba,mezo", "--seeds", "1", "--dir", folder, "--allow-code", "judge")
    done = cli(*asked, "--rates", "zorba=0.01,0.05", "--rates", "mezo=0.01")
    assert done.code == 0, done.err
    record = json.loads((folder / "compare.json").read_text("utf-8"))
    assert set(record["tried"]["zorba"]) == {"0.01", "0.05"}
    assert all(-1 <= objective <= 0 for objective in record["tried"]["zorba"].values())
    for run in ("zorba/seed-3", "mezo/seed-3"):
        settings = json.loads((folder / run / "config.resolved.json").read_text("utf-8"))
        assert settings["task"]["reward"] == "judge:nearness"
