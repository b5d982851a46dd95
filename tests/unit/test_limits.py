"""Tokens beyond the table and texts beyond the positions: said before a run, with the limit and what helps."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Cli
from tests.support.architectures import tiny
from tests.support.model_folders import data_folder, model_folder, run_tree, tokenizer
from tests.support.pair_checks import as_loaded
from tests.support.tiny_models import POSITIONS, tiny_loaded
from zorba_ray.config import config_from_tree
from zorba_ray.errors import ConfigError, ZorbaError
from zorba_ray.experiment.build import prepare
from zorba_ray.models.limits import require_length, require_positions, require_tokens


@pytest.mark.parametrize(("kind", "longest"), [("gpt2", 32), ("opt", 32), ("bert", 32), ("roberta", 31)])
def test_the_longest_text_is_measured(kind: str, longest: int) -> None:
    """RoBERTa counts from behind its padding token, which is 0 here."""
    loaded = tiny_loaded(kind, blocks=1)
    assert loaded.network.config.max_position_embeddings == POSITIONS == 32
    require_length(loaded, longest, "data.max_length=64")
    with pytest.raises(ConfigError, match=f"takes at most {longest} .*set data.max_length={longest} or less"):
        require_length(loaded, longest + 1, "data.max_length=64")
    with pytest.raises(ConfigError, match=rf"data\.label_words: the longest text has 500 tokens.*{longest}.*shorten"):
        require_length(loaded, 500, "data.label_words")


@pytest.mark.parametrize("kind", ["llama", "bloom", "falcon with alibi", "mamba2", "deberta-v2"])
def test_positions_without_a_table_have_no_measured_end(kind: str) -> None:
    require_length(as_loaded(tiny(kind), kind != "deberta-v2", kind), 300, "data.max_length=300")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mpt", "xglm", "modernbert"])
def test_stated_positions_bound_the_setting_though_no_row_is_that_long(kind: str) -> None:
    loaded = as_loaded(tiny(kind), kind != "modernbert", kind)
    require_positions(loaded, 64)
    with pytest.raises(ConfigError, match=r"data\.max_length=65 exceeds the 64 positions .*set data\.max_length=64"):
        require_positions(loaded, 65)


def test_tokens_beyond_the_table() -> None:
    loaded = tiny_loaded("llama", blocks=1)
    loaded.tokenizer.convert_ids_to_tokens = lambda token: f"<{token}>"
    require_tokens(loaded, {"the texts": 39})
    with pytest.raises(ZorbaError, match=r"token 40 \('<40>'\) of the texts is beyond .*40 tokens \(0 … 39\)"):
        require_tokens(loaded, {"the texts": 40})
    loaded.tokenizer.pad_token_id = 50_000
    with pytest.raises(ZorbaError, match=r"token 50000 .* of padding"):
        require_tokens(loaded, {})
    loaded.tokenizer.pad_token_id = -1
    with pytest.raises(ZorbaError, match=r"token -1 .* of padding"):
        require_tokens(loaded, {})


@pytest.mark.parametrize(
    ("kind", "added", "fragment"),
    [("llama", "alpha", "of the texts"), ("llama", "good", "of data.label_words"), ("bert", "bad", "data.label_words")],
)
def test_added_tokens_that_the_model_has_no_rows_for(tmp_path: Path, kind: str, added: str, fragment: str) -> None:
    folder = model_folder(tmp_path / "m", kind)
    more = tokenizer()
    more.add_special_tokens({"additional_special_tokens": [f"<{added}>"]})
    more.save_pretrained(folder)
    tree = run_tree(folder, data_folder(tmp_path / "d"))
    assert prepare(config_from_tree(tree, "t")).samples == (12, 12), "a token that no text has is no fault"
    if added == "alpha":
        tree["data"]["prompt"] = "<alpha> {text} it was"
    else:
        tree["data"]["label_words"] = [f"<{added}>", "film"]
    with pytest.raises(ZorbaError, match=rf"token 40 .*{fragment}"):
        prepare(config_from_tree(tree, "t"))


@pytest.mark.parametrize(
    ("kind", "changes", "fragments"),
    [
        (
            "roberta",
            {"max_length": 32, "prompt": "{text}" + " film" * 29},
            ["data.max_length=32", "data.max_length=31 or less"],
        ),
        ("bert", {"max_length": 33}, ["data.max_length=33", "data.max_length=32 or less"]),
        ("bert", {"label_words": ["good " * 40, "bad"]}, ["data.label_words", "40 tokens", "at most 32", "shorten"]),
        ("llama", {"max_length": 33}, ["data.max_length=33", "data.max_length=32 or less"]),
    ],
)
def test_a_run_that_does_not_fit_is_refused_before_it_begins(
    cli: Cli, tmp_path: Path, kind: str, changes: dict[str, Any], fragments: list[str]
) -> None:
    tree = run_tree(model_folder(tmp_path / "m", kind), data_folder(tmp_path / "d"))
    tree["data"] |= changes
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    outcome = cli("run", tmp_path / "run.yaml", "--run-dir", tmp_path / "r")
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert fragment in outcome.err
    assert not (tmp_path / "r" / "ledger.zl").exists()
