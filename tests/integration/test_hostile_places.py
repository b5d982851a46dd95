"""Places that cannot hold a run, links in the place of a lock, and hostile files through every command that reads
them: exit code 2, one short sentence, no traceback, nothing touched."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Cli, Outcome
from zorba_ray.experiment.provenance import without_secrets


def assert_refused(found: Outcome, *fragments: str) -> None:
    assert found.code == 2, found.err
    assert "Traceback" not in found.err
    assert len(found.err) <= 2_000
    assert "\x1b" not in found.out + found.err
    for fragment in fragments:
        assert fragment in found.err + found.out


PLACES = {
    "/proc": "/proc/foo",
    "a process": "/proc/self/fd/run",
    "a file": "{folder}/file",
    "below a file": "{folder}/file/run",
    "a dangling link": "{folder}/dangling",
    "below a dangling link": "{folder}/dangling/run",
    "a link to itself": "{folder}/round/run",
    "a device": "/dev/null",
    "a long name": "{folder}/" + "n" * 300,
    "a line feed": "{folder}/two\nlines",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    return tmp_path


@pytest.mark.parametrize("kind", PLACES)
def test_a_place_that_cannot_hold_a_run(cli: Cli, tiny_file: Path, folder: Path, kind: str) -> None:
    place = PLACES[kind].format(folder=folder)
    assert_refused(cli("run", tiny_file, "--run-dir", place), "run directory")
    assert_refused(cli("compare", tiny_file, "--methods", "zorba", "--dir", place))
    assert (folder / "file").read_text(encoding="utf-8") == "mine"
    assert not (folder / "nowhere").exists()


def test_a_name_is_no_path(cli: Cli, tiny_file: Path) -> None:
    for name in ("../up", "a/b", "..", "'a\\nb'", '"a\\e[31mb"'):
        assert_refused(cli("run", tiny_file, f"name={name}"), "name = ")


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_a_lock_that_is_no_plain_file_is_left_alone(cli: Cli, tiny_file: Path, tmp_path: Path, kind: str) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    run.mkdir()
    if kind == "pipe":
        os.mkfifo(run / ".lock")
    elif kind == "folder":
        (run / ".lock").mkdir()
    else:
        (run / ".lock").symlink_to(victim)
    if kind == "link":
        victim.write_text("precious", encoding="utf-8")
    assert_refused(cli("run", tiny_file, "--run-dir", run), ".lock is not a plain file")
    assert victim.exists() == (kind == "link")
    assert kind != "link" or victim.read_text(encoding="utf-8") == "precious"


def test_a_lock_that_links_elsewhere_when_a_run_is_resumed(cli: Cli, tiny_file: Path, tmp_path: Path) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    assert cli("run", tiny_file, "rounds=1", "--run-dir", run).code == 0
    victim.write_text("precious", encoding="utf-8")
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(victim)
    (run / "summary.json").unlink()
    assert_refused(cli("run", tiny_file, "rounds=1", "--run-dir", run, "--resume"), ".lock is not a plain file")
    assert victim.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    "command",
    [
        ["run", "{file}"],
        ["run", "{file}", "--dry-run"],
        ["allocate", "{file}"],
        ["profile", "{file}"],
        ["lr", "{file}"],
        ["compare", "{file}"],
        ["sweep", "{file}"],
        ["sweep", "{file}", "--dry-run"],
        ["doctor", "{file}"],
    ],
    ids=" ".join,
)
def test_every_command_that_reads_settings(cli: Cli, tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "hostile.yaml"
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(30))
    for content, fragment in (
        (laughs, "aliases"),
        ('"\\e[31m[red]": 1\nname: x\n', "\\x1b[31m[red]"),
    ):
        path.write_text(content, encoding="utf-8")
        assert_refused(cli(*(str(path) if word == "{file}" else word for word in command)), fragment)
    path.unlink()
    assert cli(*(str(path) if word == "{file}" else word for word in command)).code == 2


def test_doctor_of_settings_that_are_refused(cli: Cli, tmp_path: Path) -> None:
    assert_refused(cli("doctor", tmp_path / "nowhere.yaml"), "no such file", "→ correct the settings")
    (tmp_path / "sweep.yaml").write_text("name: s\nrun: demo\nspace: {zo.lrr: {grid: [1]}}", encoding="utf-8")
    assert_refused(cli("doctor", tmp_path / "sweep.yaml"), "zo.lrr is no setting; did you mean zo.lr?")


def test_names_in_tables_progress_and_summary(cli: Cli, tiny_file: Path, tmp_path: Path) -> None:
    """The class of a client is text that its owner chose; what it says to a terminal is nothing."""
    fleet = 'federation.fleet=[{name: "[red]\\e[2Jx", count: 4, vram: 1 GiB}]'
    run = tmp_path / "run"
    for arguments in (["allocate", tiny_file], ["run", tiny_file, "rounds=1", "--run-dir", run]):
        found = cli(*arguments, fleet)
        assert found.code == 0, found.err
        assert "\x1b" not in found.out + found.err
        assert "[red]\\x1b[2Jx" in found.out
    found = cli("allocate", tiny_file, fleet.replace("1 GiB", "1"))
    assert found.code == 3
    assert "\x1b" not in found.err
    assert "[red]\\x1b[2Jx" in found.err
    assert json.loads((run / "allocation.json").read_text(encoding="utf-8"))["clients"][0]["class"] == "[red]\x1b[2Jx"


def test_files_of_a_run_are_their_owners_alone(cli: Cli, tiny_file: Path, tmp_path: Path) -> None:
    """Also in a folder that others may read. A file that its owner opened to others stays open when it is replaced."""
    run = tmp_path / "run"
    run.mkdir(0o755)
    mask = os.umask(0o022)
    try:
        assert cli("run", tiny_file, "--run-dir", run, "federation.snapshot_every=2", "eval.keep=best").code == 0
        modes = {path.name: path.stat().st_mode & 0o777 for path in run.rglob("*")}
        assert {name for name, mode in modes.items() if mode & 0o077} == set()
        assert {"ledger.zl", "report.html", "metrics.jsonl", "snapshots", ".lock"} <= modes.keys()
        (run / "report.html").chmod(0o644)
        assert cli("report", run).code == 0
        assert (run / "report.html").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("run my.yaml rounds=3 data.batch_tokens=512", "run my.yaml rounds=3 data.batch_tokens=512"),
        ("--token abc run", "--token *** run"),
        ("--api-key=abc run", "--api-key=*** run"),
        ("tracking.api_key=abc WANDB_API_KEY=abc", "tracking.api_key=*** WANDB_API_KEY=***"),
        ("--token --resume", "--token --resume"),
        ("data.path=https://me:word@host/x?token=abc&row=1", "data.path=https://***@host/x?token=***&row=1"),
        ("model.path=hf_abcdefghijklmnopqrstuv", "model.path=***"),
        ("model.revision=" + "0a" * 20, "model.revision=" + "0a" * 20),
        ("model.lora.path=monkey", "model.lora.path=monkey"),
    ],
)
def test_secrets_of_a_command_line_are_not_kept(typed: str, kept: str) -> None:
    assert " ".join(without_secrets(typed.split())) == kept
