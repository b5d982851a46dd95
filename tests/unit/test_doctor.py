"""`zorba-ray doctor`: what it finds without a cluster; every fault has a remedy and makes exit code 4."""

import http.server
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Cli, Outcome
from zorba_ray.cli.doctor import Finding, cluster, loads, machine, upload
from zorba_ray.cli.doctor.command import read_settings
from zorba_ray.config import config_from_tree, load_config

TOKEN = "4d5a" * 16


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no ~/.ray/auth_token


def faults(findings: Iterator[Finding] | list[Finding]) -> list[Finding]:
    """The faults; each must have a remedy."""
    found = [finding for finding in findings if finding.level == "fault"]
    assert all(finding.remedy for finding in found)
    return found


def uploaded(folder: Path, tree: dict[str, Any], beside: Path | None = None) -> list[Finding]:
    """The check of `folder` for a run file in it (or in `beside`)."""
    file = (beside or folder) / "run.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return list(upload.check_upload(folder, *read_settings(str(file))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with data and a model."""
    work = tmp_path / "work"
    for name in ("data/train.jsonl", "data/validation.jsonl", "model/config.json"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("{}\n", encoding="utf-8")
    return work


TREE = {"data": {"path": "data", "label_words": ["bad", "good"]}, "model": {"path": "./model"}}


# Upload.


def test_a_folder_that_holds_everything_is_in_order(folder: Path):
    findings = uploaded(folder, TREE)
    assert not faults(findings)
    assert [finding.what.split("=")[0] for finding in findings[1:]] == ["the config", "data.path", "model.path"]


@pytest.mark.parametrize(
    ("ignore_file", "pattern", "named"),
    [
        (".gitignore", "/data/", "data.path=data: 2 of 2 files"),
        (".gitignore", "*.jsonl", "data.path=data: 2 of 2 files"),
        (".rayignore", "model", "model.path=./model: 1 of 1 files"),
        ("data/.gitignore", "validation.*", "data.path=data: 1 of 3 files would not be uploaded (data/validation"),
        (".gitignore", "run.yaml", "the config"),
    ],
)
def test_an_ignored_file_of_the_config_is_a_fault(folder: Path, ignore_file: str, pattern: str, named: str):
    (folder / ignore_file).write_text(pattern + "\n", encoding="utf-8")
    [fault] = faults(uploaded(folder, TREE))
    assert fault.what.startswith(named)


def test_gitignore_is_not_honoured_where_ray_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / ".gitignore").write_text("data\n", encoding="utf-8")
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    assert not faults(uploaded(folder, TREE))


def test_a_folder_that_ray_leaves_out_by_default_is_a_fault(folder: Path):
    (folder / "data").rename(folder / "venv")
    [fault] = faults(uploaded(folder, {**TREE, "data": {**TREE["data"], "path": "venv"}}))
    assert "Ray's default excludes" in fault.what


@pytest.mark.parametrize(
    ("path", "level", "said"),
    [
        ("../elsewhere", "fault", "outside"),
        ("{tmp}/elsewhere", "note", "on every node"),
        ("nowhere", "note", "correct the path"),
        ("owner/name", "note", "on the hub"),
    ],
)
def test_data_that_is_not_in_the_folder(folder: Path, tmp_path: Path, path: str, level: str, said: str):
    (tmp_path / "elsewhere").mkdir()
    findings = uploaded(folder, {**TREE, "data": {**TREE["data"], "path": path.format(tmp=tmp_path)}})
    [finding] = [finding for finding in findings if finding.what.startswith("data.path")]
    assert finding.level == level
    assert said in f"{finding.what} {finding.remedy}"


def test_a_run_file_outside_the_folder_is_a_fault(folder: Path, tmp_path: Path):
    [fault] = faults(uploaded(folder, TREE, tmp_path))
    assert fault.what.startswith("the config")


def test_the_files_are_those_that_ray_would_send(folder: Path, tmp_path: Path):
    """Against the archive that Ray makes."""
    from ray._private.runtime_env.packaging import create_package

    (folder / ".rayignore").write_text("model\n", encoding="utf-8")
    (folder / "data" / "größe.bin").write_bytes(os.urandom(100_000))
    archive = tmp_path / "archive.zip"
    create_package(str(folder), archive, include_gitignore=True, excludes=[".git"])
    packed = upload.packed_files(folder)
    with zipfile.ZipFile(archive) as sent:
        assert {str(path) for path in packed} == {name for name in sent.namelist() if not name.endswith("/")}
    assert sum(packed.values()) == pytest.approx(archive.stat().st_size, rel=0.01)


def test_a_folder_over_the_cap_is_a_fault_that_names_the_largest(folder: Path):
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(101 * 2**20)
    [fault] = faults(upload.check_upload(folder, None, []))
    assert "largest: weights.bin 101 MiB" in fault.what
    (folder / ".rayignore").write_text("weights.bin\n", encoding="utf-8")
    assert not faults(upload.check_upload(folder, None, []))


def test_no_folder(tmp_path: Path):
    assert faults(upload.check_upload(tmp_path / "none", None, []))


# Settings.


def test_a_sweep_file_names_its_run_and_the_runs_files(folder: Path):
    (folder / "run.yaml").write_text(yaml.safe_dump(TREE), encoding="utf-8")
    sweep = {"name": "s", "run": "run.yaml", "set": {"zo.lr": 0.5}, "space": {"seed": {"grid": [1, 2]}}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    config, files = read_settings(str(folder / "sweep.yaml"))
    assert [file.name for file in files] == ["sweep.yaml", "run.yaml"]
    assert config.zo.lr == 0.5
    (folder / ".gitignore").write_text("run.yaml\n", encoding="utf-8")
    [fault] = faults(upload.check_upload(folder, config, files))
    assert "run.yaml" in fault.what


# Cluster. The answers of a head are played here; tests/integration/test_jobs.py asks a real one.


@contextmanager
def head(token: str | None, version: str, cpus: float = 8, gpus: float = 1) -> Iterator[str]:
    """A jobs API of a few lines."""
    usage = {"CPU": [0.0, cpus], "GPU": [0.0, gpus]}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            admitted = token is None or self.headers.get("Authorization") == f"Bearer {token}"
            body: dict[str, Any] = {"ray_version": version}
            if self.path == "/api/cluster_status":
                body = {"data": {"clusterStatus": {"loadMetricsReport": {"usage": usage}}}}
            self.send_response(200 if admitted else 401)
            self.end_headers()
            self.wfile.write(json.dumps(body if admitted else {}).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _version() -> str:
    import ray

    return ray.__version__


def test_a_head_without_token_auth_is_a_fault():
    with head(None, _version()) as url:
        [fault] = faults(cluster.check_cluster(url, None))
    assert "answers without a token" in fault.what
    assert "RAY_AUTH_MODE=token" in fault.remedy


def test_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """None, a wrong one, the right one in the environment, the right one in a file."""
    with head(TOKEN, _version()) as url:
        assert "no token" in faults(cluster.check_cluster(url, None))[0].what
        monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        assert "refuses this token" in faults(cluster.check_cluster(url, None))[0].what
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        assert not faults(cluster.check_cluster(url, None))
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        (tmp_path / "token").write_text(TOKEN + "\n", encoding="ascii")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
        assert not faults(cluster.check_cluster(url, None))


def test_another_ray_on_the_cluster_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with head(TOKEN, "2.52.0") as url:
        [fault] = faults(cluster.check_cluster(url, None))
    assert "the cluster has Ray 2.52.0" in fault.what


@pytest.mark.parametrize(("cpus", "gpus", "kind"), [(1, 1, "CPU"), (8, 0, "GPU")])
def test_a_cluster_that_is_too_small_is_a_fault_with_the_shortfall(
    monkeypatch: pytest.MonkeyPatch, cpus: int, gpus: int, kind: str
):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    demo = load_config("demo", [])
    with head(TOKEN, _version(), cpus, gpus) as url:
        [fault] = faults(cluster.check_cluster(url, demo))
        assert f"{cpus if kind == 'CPU' else gpus} {kind}" in fault.what
        assert "missing" in fault.what
        assert not faults(cluster.check_cluster(url, load_config("demo", ["federation.backend=sequential"])))


def test_nothing_at_the_address_is_a_fault_within_seconds():
    start = time.monotonic()
    [fault] = faults(cluster.check_cluster("http://127.0.0.1:9", None))
    assert "no answer" in fault.what
    assert time.monotonic() - start < 20


def test_a_plain_address_far_away_is_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "_get", lambda url, token: (0, {}))
    notes = [
        finding for finding in cluster.check_cluster("http://head.example.com:8265", None) if finding.level == "note"
    ]
    assert "not encrypted" in notes[0].what


# This machine, and the command.


def test_online_wandb_without_a_key_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    [fault] = faults(machine.wandb("online"))
    assert "runtime_env" in fault.remedy
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert not faults(machine.wandb("online"))
    assert not faults(machine.wandb("auto"))


def test_little_shared_memory_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_STORE_BYTES", 2**60)
    [fault] = faults(machine.shared_memory())
    assert "--shm-size" in fault.remedy


def test_the_command_exits_with_4_on_a_fault_and_0_without(cli: Cli, folder: Path):
    (folder / "run.yaml").write_text(yaml.safe_dump(TREE), encoding="utf-8")
    good: Outcome = cli("doctor", folder / "run.yaml", "--working-dir", folder)
    assert good.code == 0, good.out
    assert "data.path=data is uploaded" in good.out
    (folder / ".gitignore").write_text("data\n", encoding="utf-8")
    bad = cli("doctor", folder / "run.yaml", "--working-dir", folder)
    assert bad.code == 4
    [line] = [line for line in bad.out.splitlines() if line.startswith("fault")]
    assert " → " in line


# What a run would load.


@pytest.mark.parametrize(
    ("override", "code", "said"),
    [
        ({}, 0, "data (96 training rows)"),
        ({"label_words": ["terrible", "poor", "good", "zzzunknown"]}, 2, "zzzunknown"),
        ({"path": "/no/such/data"}, 2, "/no/such/data"),
    ],
)
def test_a_file_is_loaded_as_a_run_would(
    tiny_tree: dict[str, Any], override: dict[str, Any], code: int, said: str
) -> None:
    config = config_from_tree({**tiny_tree, "data": {**tiny_tree["data"], **override}}, "tiny")
    finding = next(loads.check_loading(config, "demo"))
    assert said in finding.what
    assert (finding.level, finding.exit_code if code else 0) == ("fault" if code else "ok", code)


def test_an_allocation_that_does_not_fit_has_the_code_of_the_run(tiny_tree: dict[str, Any]) -> None:
    tiny_tree["federation"]["fleet"] = [{"name": "tiny", "count": 4, "vram": 1000}]
    [fault] = faults(loads.check_loading(config_from_tree(tiny_tree, "tiny"), "tiny"))
    assert fault.exit_code == 3
    tiny_tree["federation"] = {"clients": 4, "gpus": 64}
    [fault] = faults(loads.check_loading(config_from_tree(tiny_tree, "tiny"), "tiny"))
    assert fault.exit_code == 4
