"""Verdicts on forward pairs that are remembered: for exactly what was checked, and never instead of a check."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.model_folders import change_weights, data_folder, model_folder, run_tree
from zorba_ray.config import config_from_tree
from zorba_ray.experiment import pair_check
from zorba_ray.experiment.build import load_task_model
from zorba_ray.models import pair_check as pairs

Tree = dict[str, Any]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zorba-ray" / "pair-checks"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every check that was made and not remembered."""
    made: list[int] = []

    def counted(*args: Any) -> pairs.Verdict:
        made.append(1)
        return pairs.check_pairs(*args)

    monkeypatch.setattr(pair_check, "check_pairs", counted)
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return run_tree(model_folder(tmp_path / "m"), data_folder(tmp_path / "d"))


def require(tree: Tree) -> str:
    config = config_from_tree(tree, "t")
    return pair_check.require_right_pairs(config, load_task_model(config, "cpu"))


def test_what_was_passed_is_not_checked_again(cache: Path, checks: list[int], tree: Tree) -> None:
    first = require(tree)
    assert len(checks) == 1
    (file,) = cache.iterdir()
    held = json.loads(file.read_text(encoding="utf-8"))
    assert held["passed"] == file.stem
    assert held["largest"] <= held["allowed"]
    assert held["compared"] > 0
    assert require(tree) == first
    assert len(checks) == 1


def _section(name: str, **values: Any) -> Callable[[Tree], None]:
    return lambda tree: tree[name].update(values)


def _weights(tree: Tree) -> None:
    def change(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        state["model.layers.0.mlp.up_proj.weight"][0, 0] += 1e-3
        return state

    change_weights(Path(tree["model"]["path"]), change)


@pytest.mark.parametrize(
    "change",
    [
        _weights,
        _section("zo", scope="matrices"),
        _section("zo", rank=2),
        _section("zo", distribution="gaussian"),
        _section("zo", difference="forward"),
        _section("federation", seeds="shared"),
        _section("model", head="lm"),
        _section("model", lora={"rank": 2}),
        _section("data", label_words=["bad", "good"]),
        _section("data", max_length=8),
    ],
    ids=range(10),
)
def test_whatever_the_pairs_depend_on_is_checked_anew(
    cache: Path, checks: list[int], tree: Tree, change: Callable[[Tree], None]
) -> None:
    require(tree)
    change(tree)
    require(tree)
    assert len(checks) == 2
    assert len(list(cache.iterdir())) == 2


def test_other_code_is_checked_anew(
    checks: list[int], cache: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(tree)
    monkeypatch.setattr(pair_check, "_code_digest", lambda: "other")
    require(tree)
    assert len(checks) == len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"passed": true}', b'{"passed": "other"}', b"\xff\xfe", b"[" * 1_000_000],
    ids=range(9),
)  # fmt: skip
def test_a_corrupt_or_foreign_file_is_passed_over(cache: Path, checks: list[int], tree: Tree, content: bytes) -> None:
    require(tree)
    (file,) = cache.iterdir()
    good = file.read_bytes()
    file.write_bytes(content)
    require(tree)
    assert len(checks) == 2
    assert file.read_bytes() == good


def test_a_verdict_of_another_key_under_this_name_is_passed_over(cache: Path, checks: list[int], tree: Tree) -> None:
    require(tree)
    (first,) = cache.iterdir()
    _weights(tree)
    require(tree)
    (second,) = set(cache.iterdir()) - {first}
    second.write_bytes(first.read_bytes())
    require(tree)
    assert len(checks) == 3


@pytest.mark.parametrize("place", ["a file", "no folder", "a folder in its place"])
def test_a_cache_that_cannot_be_written_costs_nothing_but_the_check(
    cache: Path, checks: list[int], tree: Tree, place: str
) -> None:
    if place == "a file":
        cache.parent.mkdir(parents=True)
        cache.write_text("in the way", encoding="utf-8")
    elif place == "no folder":
        cache.parents[1].parent.mkdir(exist_ok=True)
        cache.parents[1].symlink_to("/proc/nowhere")
    else:
        require(tree)
        (file,) = cache.iterdir()
        file.unlink()
        file.mkdir()
        checks.clear()
    digest = require(tree)
    assert require(tree) == digest
    assert len(checks) == 2


def test_no_home_is_no_fault(checks: list[int], tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    require(tree)
    assert len(checks) == 1


def test_two_processes_at_once(cache: Path, tree: Tree) -> None:
    code = (
        "import json, sys\n"
        "from zorba_ray.config import config_from_tree\n"
        "from zorba_ray.experiment.build import load_task_model\n"
        "from zorba_ray.experiment.pair_check import require_right_pairs\n"
        "config = config_from_tree(json.loads(sys.argv[1]), 't')\n"
        "print(require_right_pairs(config, load_task_model(config, 'cpu')))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(tree)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    (file,) = cache.iterdir()
    assert json.loads(file.read_text(encoding="utf-8"))["passed"] == file.stem


def test_tests_leave_the_users_cache_alone() -> None:
    assert "zorba-tests-" in os.environ["XDG_CACHE_HOME"]
