"""`zorba-ray init`: what a file's columns are taken for, and a first configuration that a run accepts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zorba_ray.cli.init import configuration
from zorba_ray.cli.main import app
from zorba_ray.config import load_config
from zorba_ray.data.proposal import propose_data
from zorba_ray.errors import ConfigError, DataError

TEXTS = ("a good film, but long", "we left before the end", "the best of the year", "two lost hours, all in all")


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(count: int = 40, **columns: Callable[[int], object]) -> list[dict[str, object]]:
    return [{"text": f"{TEXTS[i % 4]} {i}"} | {name: of(i) for name, of in columns.items()} for i in range(count)]


def test_labels_text_and_owners_are_told_apart(tmp_path: Path) -> None:
    rows = rows_of(
        id=str, year=lambda i: 2000 + i % 3, sentiment=lambda i: ("bad", "fine")[i % 2], site=lambda i: i % 5
    )
    proposal = propose_data(write(tmp_path / "rows.jsonl", rows))
    assert (proposal.prompt, proposal.label_column) == ("{text} It was", "sentiment")
    assert (proposal.label_words, proposal.label_rows, proposal.named) == (("bad", "fine"), (20, 20), True)
    assert (proposal.owner_column, proposal.owners) == ("site", 5)


@pytest.mark.parametrize(
    ("labels", "words", "named"),
    [
        (lambda i: i % 3, ("0", "1", "2"), False),
        (lambda i: 1 + i % 5, ("1", "2", "3", "4", "5"), False),
        (lambda i: (-1, 1, 0)[i % 3], ("0", "1"), False),  # -1 is a row without a label
        (lambda i: ("no", "yes")[i % 2], ("no", "yes"), True),
    ],
)
def test_label_words(labels: Callable[[int], object], words: tuple[str, ...], named: bool, tmp_path: Path) -> None:
    proposal = propose_data(write(tmp_path / "rows.jsonl", rows_of(label=labels)))
    assert (proposal.label_words, proposal.named) == (words, named)


def test_names_of_labels_json(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"spam": 1, "ham": 0}')
    proposal = propose_data(write(tmp_path / "rows.jsonl", rows_of(label=lambda i: i % 2)))
    assert (proposal.label_words, proposal.label_rows, proposal.named) == (("ham", "spam"), (20, 20), True)


def test_text_without_labels_is_learned_itself(tmp_path: Path) -> None:
    assert propose_data(write(tmp_path / "rows.jsonl", rows_of(id=str))).label_column is None


TASKS: dict[str, tuple[list[dict[str, object]], str]] = {
    "answers": (rows_of(output=lambda i: f"the answer is {i}"), 'task: {kind: completion, answer: "{output}"}'),
    "options": (
        rows_of(options=lambda i: ["good", "bad"], answer=lambda i: i % 2),
        "task: {kind: multiple_choice, options_column: options}",
    ),
    "chats": (
        rows_of(messages=lambda i: [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"b {i}"}]),
        "task: {kind: completion, messages_column: messages}",
    ),
    "right answers": (
        rows_of(answers=lambda i: [f"the answer is {i}", str(i)]),
        "task: {kind: generation, references_column: answers, max_new_tokens: 16}",
    ),
    "text": (rows_of(), "task: {kind: language_model}"),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_task_is_proposed(name: str, tmp_path: Path) -> None:
    """And what is written is a configuration of that task; what stands behind an answer is no part of its prompt."""
    rows, line = TASKS[name]
    for row in rows:
        row["final"] = "so it is"
    proposal = propose_data(write(tmp_path / "rows.jsonl", rows))
    text = configuration(proposal, tmp_path / "rows.jsonl", "gpt2", "rows", 2**33, "main memory")
    assert line in text
    (tmp_path / "rows.yaml").write_text(text)
    config = load_config(str(tmp_path / "rows.yaml"))
    assert config.task_kind == proposal.kind
    assert ("final" in config.data.prompt) == (name in ("options", "text"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of(tags=lambda i: ["a", "b"]), "the column 'tags' holds lists, and they are neither chats"),
        ([{"n": i, "m": i % 2} for i in range(10)], r"no column of text \(columns: 'n', 'm'\)"),
        ([{"my text": text} for text in TEXTS], "the column 'my text' cannot stand in a prompt's braces"),
    ],
)
def test_refusals(rows: list[dict[str, object]], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        propose_data(write(tmp_path / "rows.jsonl", rows))


def test_a_csv_with_semicolons_becomes_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written loads, and a second `init` does not write over it."""
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'"{row["text"]}";{row["label"]}\n' for row in rows_of(160, label=lambda i: i % 2))
    Path("reviews.csv").write_text("review;label\n" + lines)
    done = CliRunner().invoke(app, ["init", "reviews.csv"])
    assert done.exit_code == 0, done.output
    assert "checked: data and model load; each client activates 6 of 6 blocks" in done.stdout
    config = load_config("reviews.yaml")
    assert (config.name, config.data.prompt) == ("reviews", "{review} It was")
    assert (config.data.label_words, config.federation.clients) == (("terrible", "great"), 4)
    assert all(len(line) <= 120 for line in Path("reviews.yaml").read_text().splitlines())
    with pytest.raises(ConfigError, match=r"reviews\.yaml exists: name another file with --out"):
        CliRunner().invoke(app, ["init", "reviews.csv"], catch_exceptions=False)


def test_words_that_the_model_does_not_know_are_said_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("mail.jsonl"), rows_of(label=lambda i: ("ham", "spam")[i % 2]))
    done = CliRunner().invoke(app, ["init", "mail.jsonl"])
    assert isinstance(done.exception, ConfigError)
    assert "to correct: a run of mail.yaml would end with:" in done.stderr
    assert "# The built-in model knows the words terrible, poor, good, great." in Path("mail.yaml").read_text()
