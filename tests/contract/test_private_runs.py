"""Runs with `privacy` keep the promises of others, and tell of clients nothing but noisy scalars."""

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.hostile_client import hostile
from tests.support.tiny_run import run_here, stopped_after, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, LedgerError, RunDirError
from zorba_ray.experiment.execute import execute_in
from zorba_ray.experiment.replay import replay_run
from zorba_ray.privacy import epsilon_of
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundCommit, decode
from zorba_ray.protocol.replay import rule_of
from zorba_ray.report import write_report

PRIVATE = ("privacy.clip=1", "privacy.target_epsilon=8")
RUNS = {
    "per client": (),
    "local steps": ("zo.local_steps=2", "zo.directions=2"),
    "shared": ("federation.seeds=shared", "federation.participants=2", "federation.spares=1"),
    "per example": ("zo.directions_per=example", "zo.scope=all", "zo.lr=1e-3"),
    "decomfl": ("method=decomfl", "federation.seeds=shared", "zo.directions=2"),
}


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "given.key"
    path.write_text("ab" * 32 + "\n")
    return f"privacy.secret_file={path}"


def config(name: str, *overrides: str) -> ExperimentConfig:
    return tiny_config(*PRIVATE, *RUNS[name], *overrides)


def page_of(run: Path) -> str:
    return write_report([run], run / "report.html").read_text("utf-8")


@pytest.mark.parametrize("name", RUNS)
def test_one_result_for_one_secret_also_after_a_stop_and_in_a_replay(name: str, tmp_path: Path, secret: str) -> None:
    own = config(name, secret)
    straight = run_here(own, tmp_path / "straight")
    stopped = run_here(own, stopped_after(2, own, tmp_path / "stopped"))
    assert stopped["weights_sha256"] == straight["weights_sha256"]
    assert replay_run(tmp_path / "straight", None, None, None).confirmed
    other = run_here(config(name), tmp_path / "other")
    assert other["weights_sha256"] != straight["weights_sha256"]
    assert other["privacy"] == straight["privacy"] == stopped["privacy"]


def test_nothing_else_is_told(tmp_path: Path) -> None:
    """No loss in messages, metrics or page; the secret in no file but its own, which only its owner can read."""
    frames: list[ClientReport] = []

    def seen(report: ClientReport) -> ClientReport:
        frames.append(report)
        return report

    run_here(config("per client"), tmp_path / "run", hostile(1, None, seen))
    assert [report.loss for report in frames] == [b""] * 3
    rounds = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss"] is None and line["client_loss"] == {} for line in rounds if line["kind"] == "round")
    page_of(tmp_path / "run")
    file = tmp_path / "run" / "secret.key"
    told = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != file:
            assert told.encode() not in path.read_bytes(), path
            assert bytes.fromhex(told) not in path.read_bytes(), path


def test_the_scalars_of_the_ledger_are_noisy_and_on_the_grid(tmp_path: Path) -> None:
    own = config("per client", "zo.directions=10")
    run_here(own, tmp_path / "run")
    contents = read_ledger(tmp_path / "run" / "ledger.zl")
    noise = rule_of(contents.header).noise
    assert noise is not None
    scalars = np.concatenate([np.frombuffer(decode(r.body, RoundCommit).scalars, "<f4") for r in contents.records])
    assert len(scalars) == 3 * 4 * 10
    noise.require(scalars)
    assert scalars.std() == pytest.approx(noise.deviation, rel=0.25)
    by_round = scalars.reshape(3, 40)  # each plan has noise of its own, and so has each client
    for first, second in ((by_round[0], by_round[1]), (by_round[1, :10], by_round[1, 10:20])):
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.75


def test_epsilon_stands_in_every_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zorba_ray.cli.summary import print_summary

    summary = run_here(config("per client"), tmp_path / "run")
    record = summary["privacy"]
    assert record["reports"] == 3
    assert not record["spent"]
    assert 7.9 < record["epsilon"] == epsilon_of(record["noise_multiplier"], 3, 1e-5) <= 8
    page = page_of(tmp_path / "run")
    assert "Differential privacy" in page
    assert "ε = 7.997, δ = 1e-05" in page
    print_summary(summary, tmp_path / "run")
    assert "ε = 7.997, δ = 1e-05" in capsys.readouterr().out


def test_the_client_that_is_asked_most_often_counts(tmp_path: Path) -> None:
    """Of 8 rounds with one participant of four, and a spare one."""
    own = tiny_config(
        "rounds=8", "federation.participants=1", "federation.spares=1", "privacy.clip=1", "privacy.noise_multiplier=2"
    )
    record = run_here(own, tmp_path / "run")["privacy"]
    assert 4 <= record["reports"] < 8
    assert record["epsilon"] == epsilon_of(2.0, record["reports"], 1e-5)


def test_a_round_that_was_asked_and_not_committed_counts(tmp_path: Path) -> None:
    own = tiny_config("rounds=4", "privacy.clip=1", "privacy.noise_multiplier=2")
    stopped_after(2, own, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["rounds_done"], summary["privacy"]["reports"]) == (2, 3)


def test_the_run_ends_when_its_privacy_is_spent(tmp_path: Path) -> None:
    """And a resume does not go on."""
    own = tiny_config("rounds=12", "privacy.clip=1", "privacy.noise_multiplier=2", "privacy.target_epsilon=16")
    notes: list[str] = []
    summary = run_here(own, tmp_path / "run", emit=lambda event: notes.append(str(event.get("text"))))
    last = summary["rounds_done"]
    assert epsilon_of(2.0, last, 1e-5) <= 16 < epsilon_of(2.0, last + 1, 1e-5)
    assert summary["status"] == "finished"
    assert summary["privacy"]["spent"]
    assert summary["evaluations"]["final"]["round"] == summary["kept_round"] == last
    assert any(f"ended after round {last} of 12: another would spend more than" in note for note in notes)
    assert "privacy.target_epsilon is spent" in page_of(tmp_path / "run")
    again: list[str] = []
    resumed = execute_in(
        own, tmp_path / "run", True, [], lambda event: again.append(str(event.get("text"))), lambda: False, None
    )
    assert resumed["rounds_done"] == last
    assert any("is finished; nothing to resume" in note for note in again)


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, secret: str) -> None:
    own = config("per client")
    run = stopped_after(1, own, tmp_path / "run")
    whole = (run / "secret.key").read_text()
    with pytest.raises(ConfigError, match=r"given.key: the run began with another secret, which is in .*secret.key"):
        run_here(config("per client", secret), run)
    (run / "secret.key").write_text("cd" * 32)
    with pytest.raises(LedgerError, match=r"another secret of the clients: put secret\.key back"):
        run_here(own, run)
    (run / "secret.key").write_text("cd")
    with pytest.raises(ConfigError, match=r"secret.key: a secret is 64 hexadecimal digits"):
        run_here(own, run)
    os.unlink(run / "secret.key")
    with pytest.raises(RunDirError, match=r"secret.key is gone"):
        run_here(own, run)
    (run / "secret.key").write_text(whole)
    assert run_here(own, run)["status"] == "finished"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss": np.float32(1).tobytes()}, "4 bytes of loss, 0 expected"),
        ({"scalars": np.float32(0.3).tobytes()}, "no multiples of"),
        ({"scalars": np.float32(1e9).tobytes()}, "none is beyond"),
        ({"scalars": np.float32(np.nan).tobytes()}, "none is beyond"),
    ],
)
def test_a_report_that_is_no_private_one_is_left_out(change: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    notes: list[str] = []
    run_here(
        config("per client"),
        tmp_path / "run",
        hostile(2, 2, lambda report: msgspec.structs.replace(report, **change)),
        lambda event: notes.append(str(event.get("text"))),
    )
    assert any("round 2: client 2 is left out" in note and reason in note for note in notes)


def test_no_command_asks_clients_without_noise() -> None:
    from zorba_ray.experiment.rounds_at_start import prepared_at_start

    with pytest.raises(ConfigError, match="drop the section privacy"):
        prepared_at_start(config("per client"))
