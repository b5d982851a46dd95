"""`completion` of chats: the assistant's turns are scored, as the tokenizer's own template writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.task_data import CHAT_TEMPLATE, TASKS, chat_model, review_rows, write_rows
from tests.support.tiny_run import tiny_config
from zorba_ray.errors import ConfigError, DataError
from zorba_ray.experiment.build import Setup, prepare

LONG = [
    {"role": role, "content": text}
    for role, text in (("user", "the film"), ("assistant", "good"), ("user", "the plot"), ("assistant", "very poor"))
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_model(tmp_path_factory.mktemp("chat") / "model")


def set_up(folder: Path, model: Path, rows: list[dict[str, Any]], *overrides: str) -> Setup:
    write_rows(folder, rows)
    words = "data.label_words=[]"
    return prepare(tiny_config(f"data.path={folder}", f"model.path={model}", words, *TASKS["chat"], *overrides))


def told(setup: Setup) -> list[tuple[str, str]]:
    """(all tokens, scored tokens) of the training rows, as text."""
    table, tokenizer = setup.shards.table, setup.model.loaded.tokenizer
    assert table.scored is not None
    cuts = [slice(a, b) for a, b in zip(table.starts[:-1], table.starts[1:], strict=True)]
    return [
        (tokenizer.decode(table.tokens[cut]), tokenizer.decode(table.tokens[cut][table.scored[cut]])) for cut in cuts
    ]


def test_every_turn_of_the_assistant_is_scored(model: Path, tmp_path: Path) -> None:
    setup = set_up(tmp_path / "data", model, [*review_rows(20), {"messages": LONG}])
    texts = told(setup)
    assert ("the film it was good </s> the plot it was very poor </s>", "good </s> very poor </s>") in texts
    first = review_rows(1)[0]
    assert (f"{first['text']} it was {first['grade']} </s>", f"{first['grade']} </s>") in texts


def test_a_long_chat_loses_its_last_turns(model: Path, tmp_path: Path) -> None:
    whole = [*LONG, {"role": "user", "content": "the score"}, {"role": "assistant", "content": "poor"}]
    ends = {6: ["good"], 13: ["good", "very poor"], 19: ["good", "very poor", "poor"]}
    for length, turns in ends.items():
        rows = [{"messages": [*whole[:-1], {"role": "assistant", "content": f"poor{' ' * i}"}]} for i in range(20)]
        setup = set_up(tmp_path / str(length), model, rows, f"data.max_length={length}")
        assert {scored for _, scored in told(setup)} == {" ".join(f"{turn} </s>" for turn in turns)}
        cut = setup.cuts["train"]
        assert (cut.rows, cut.total) == (0 if length == 19 else 20, 20)
        assert int(np.max(setup.shards.table.lengths)) == {6: 6, 13: 13, 19: 19}[length]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (LONG[:1], r"row 2 \(line 2\): column 'messages' \(task\.messages_column\) has no message of the role assist"),
        ("hello", r"holds 'hello'; write a list of messages"),
        ([], r"holds \[\]; write a list of messages"),
        ([LONG[0], {"role": "assistant"}], r"message 2 has no text as its content"),
        ([{"content": "a"}, LONG[1]], r"message 1 has no text as its role"),
        ([LONG[0], {"role": "assistant", "content": " "}], r"message 2 has no text as its content"),
        (
            [LONG[0], LONG[0], LONG[1]],
            r"row 2 of \w+: the chat template refuses the roles user, user.*user and assistant must alternate.*change",
        ),
        (
            [LONG[0], {"role": "assistant", "content": "good " * 80}],
            r"data\.max_length=\d+: row 2 of \w+ has 85 tokens up to the end of the assistant's first turn.*to 85",
        ),
    ],
)
def test_chats_that_are_refused(messages: Any, message: str, model: Path, tmp_path: Path) -> None:
    rows = review_rows(40)
    rows[1] |= {"messages": messages}
    with pytest.raises(DataError, match=message):
        set_up(tmp_path / "data", model, rows)


def test_a_tokenizer_without_a_template(tmp_path: Path) -> None:
    model = chat_model(tmp_path / "model", None)
    with pytest.raises(
        ConfigError, match=r"task\.messages_column=messages: the tokenizer of model\.path=.* has no chat"
    ):
        set_up(tmp_path / "data", model, review_rows(20))


def test_a_template_that_writes_a_turn_otherwise_when_others_follow(tmp_path: Path) -> None:
    """As those do that leave out earlier thoughts."""
    model = chat_model(
        tmp_path / "model", CHAT_TEMPLATE.replace("m.content +", "('' if loop.last else 'so ') + m.content +")
    )
    with pytest.raises(DataError, match=r"row 1 of train: the chat template writes message \d otherwise when others"):
        set_up(tmp_path / "data", model, [{"messages": LONG}] * 20)
