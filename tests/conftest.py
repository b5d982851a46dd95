"""What all tests share: one thread, no network, no trackers, a small run, and the command line in process."""

import copy
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

# Before any library reads its environment; subprocesses inherit it.
_CACHE = tempfile.mkdtemp(prefix="zorba-tests-")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_DATASETS_CACHE=_CACHE, TOKENIZERS_PARALLELISM="false")
for _name in [name for name in os.environ if name.startswith("WANDB_")] + ["RAY_ADDRESS"]:
    os.environ.pop(_name, None)

from tools.tiers import SLOW  # noqa: E402
from zorba_ray.config import ExperimentConfig, config_from_tree  # noqa: E402

TINY_TREE: dict[str, Any] = {
    "name": "tiny",
    "rounds": 4,
    "seed": 3,
    "data": {
        "path": "builtin",
        "prompt": "{text} It was",
        "label_words": ["terrible", "poor", "good", "great"],
        "max_length": 32,
        "batch_size": 8,
        "train_rows": 96,
    },
    "zo": {"lr": 0.02, "scope": "bias_norm"},
    "memory": {"frozen": "host"},
    "federation": {"clients": 4, "backend": "sequential"},
    "eval": {"every": 2, "rows": 24},
    "tracking": {"wandb": "disabled"},
}
"""Settings of a run of about a second: built-in model and data, no Ray."""

LONGEST = ("test_sweep.py", "test_jobs.py", "test_ray_backend.py", "test_notebooks.py")
"""Files of minutes: begun first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the slow tier (`tests/slow.txt`, see CONTRIBUTING) and begins with the longest files.

    Raises:
        pytest.UsageError: the whole suite was collected without a test of the list; `tools.tiers` remakes it.
    """
    slow = set(SLOW.read_text("utf-8").splitlines())
    for item in items:
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow)
    if config.args == config.getini("testpaths") and (gone := sorted(slow - {item.nodeid for item in items})):
        raise pytest.UsageError(f"tests/slow.txt names tests that are not there: {', '.join(gone[:5])}")
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: counts of memory collect garbage often, and need not look through it each time."""
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Where torch is loaded at all, it computes with one thread, as every backend does."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder that ZORBA_SHARED names; tests that need it are marked `real`."""
    value = os.environ.get("ZORBA_SHARED")
    if not value or not Path(value).is_dir():
        pytest.skip("ZORBA_SHARED is not set or is no folder")
    return Path(value)


@pytest.fixture
def tiny_tree() -> dict[str, Any]:
    """`TINY_TREE`, to be altered by the test."""
    return copy.deepcopy(TINY_TREE)


@pytest.fixture
def tiny_config(tiny_tree: dict[str, Any]) -> ExperimentConfig:
    """`tiny_tree`, validated."""
    return config_from_tree(tiny_tree, "tiny")


@pytest.fixture
def tiny_file(tiny_tree: dict[str, Any], tmp_path: Path) -> Path:
    """`tiny_tree` as a YAML file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_tree), encoding="utf-8")
    return path


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """`cli("run", file, …)` is `zorba-ray run file …` in this process; signal handlers are put back."""
    from zorba_ray.cli.main import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["zorba-ray", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        code = 0
        try:
            main()
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)
