"""Runs of a model and data on a hub: what the names stood for is kept, and the token is written nowhere."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.fake_hub import FakeHub, serving
from tests.support.model_folders import change_weights, data_folder, model_folder, run_tree

TOKEN = "hf_aSecretThatNobodyWrites"
MODEL, DATA = "models/someone/tiny", "datasets/someone/films"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    folders = {MODEL: [model_folder(tmp_path / "m1")], DATA: [data_folder(tmp_path / "d1")]}
    with serving(FakeHub(folders, TOKEN)) as hub:
        yield hub


def zorba(tmp_path: Path, hub: FakeHub, *words: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with a cache of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "WANDB_"))}
    environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"} | ({"HF_TOKEN": token} if token else {})
    command = [sys.executable, "-m", "zorba_ray", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=280)


def settings(tmp_path: Path) -> None:
    tree = run_tree(Path("someone/tiny"), Path("someone/films"), zo={"schedule": "constant"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))


def test_a_run_keeps_the_commits_and_never_the_token(tmp_path: Path, hub: FakeHub) -> None:
    settings(tmp_path)
    first = hub.commit(MODEL), hub.commit(DATA)
    done = zorba(tmp_path, hub, "run", "run.yaml", "--run-dir", "r")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "r" / "provenance.json").read_text())["hub"]
    assert kept == {
        "model": {"path": "someone/tiny", "asked": None, "revision": first[0]},
        "data": {"path": "someone/films", "asked": None, "revision": first[1]},
    }
    resolved = json.loads((tmp_path / "r" / "config.resolved.json").read_text())
    assert (resolved["model"]["revision"], resolved["data"]["revision"]) == first

    # The branch moves: the run goes on with what it began with, and is replayed from it.
    moved = model_folder(tmp_path / "m2")
    change_weights(moved, lambda state: {name: 1.01 * tensor for name, tensor in state.items()})
    hub.repositories[MODEL].append(moved)
    done = zorba(tmp_path, hub, "run", "run.yaml", "rounds=2", "--run-dir", "r", "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["rounds_done"] == 2
    done = zorba(tmp_path, hub, "replay", "r")
    assert f"{summary['weights_sha256']} (as in the run's summary)" in " ".join(done.stdout.split())

    written = [file for file in tmp_path.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
    assert written == []


def test_a_gated_model_says_what_to_do(tmp_path: Path, hub: FakeHub) -> None:
    settings(tmp_path)
    done = zorba(tmp_path, hub, "run", "run.yaml", f"data.path={data_folder(tmp_path / 'd')}", token=None)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert "model.path=someone/tiny" in said
    assert "accept its terms on its page of the hub, then log in with `hf auth login` or HF_TOKEN" in said
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
