"""Reports with tags: who sent them can be checked when they arrive, and again from the ledger alone."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.hostile_client import Change, hostile, scalars_of
from tests.support.tiny_run import run_here, stopped_after, tiny_config
from zorba_ray.errors import ConfigError, LedgerError
from zorba_ray.experiment.replay import replay_run
from zorba_ray.experiment.verify import verify_reports
from zorba_ray.privacy import Secret
from zorba_ray.protocol.ledger import LedgerWriter, read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundCommit, decode, encode
from zorba_ray.protocol.tags import report_keys

TAGGED = "federation.authenticated=true"
RUNS = {
    "plain": (),
    "private": ("privacy.clip=1", "privacy.target_epsilon=8", "federation.participants=3"),
    "per example": (
        "zo.directions_per=example", "zo.scope=all", "zo.local_steps=2", "zo.examples_per_direction=3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_every_report_can_be_checked_from_the_ledger(name: str, tmp_path: Path) -> None:
    own = tiny_config(TAGGED, *RUNS[name])
    summary = run_here(own, stopped_after(2, own, tmp_path / "run"))
    verified = verify_reports(tmp_path / "run", tmp_path / "run" / "reports.key")
    assert (verified.rounds, verified.reports) == (3, 3 * (3 if name == "private" else 4))
    assert replay_run(tmp_path / "run", None, None, None).confirmed
    if name == "plain":  # tags change nothing else
        assert run_here(tiny_config(), tmp_path / "without")["weights_sha256"] == summary["weights_sha256"]


def rewritten(run: Path, number: int, change: dict[str, bytes]) -> None:
    """The ledger with one commit changed, and a chain that fits."""
    contents = read_ledger(run / "ledger.zl")
    (run / "ledger.zl").unlink()
    writer = LedgerWriter.create(run / "ledger.zl", contents.header)
    for record in contents.records:
        commit = decode(record.body, RoundCommit)
        changed = record.round == number
        writer.append(record.round, encode(msgspec.structs.replace(commit, **change)) if changed else record.body)
    writer.close()


def test_what_was_changed_is_named(tmp_path: Path) -> None:
    """The chain of a rewritten ledger is right, and a replay alone says nothing."""
    path, keys = tmp_path / "run", tmp_path / "run" / "reports.key"
    run_here(tiny_config(TAGGED), path)
    whole = (path / "ledger.zl").read_bytes()
    commit = decode(read_ledger(path / "ledger.zl").records[1].body, RoundCommit)
    scalars = np.frombuffer(commit.scalars, "<f4").copy()
    scalars[2] *= -1
    rewritten(path, 2, {"scalars": scalars.tobytes()})
    with pytest.raises(LedgerError, match="round 2: the report of client 2: its tag is not that of this client"):
        verify_reports(path, keys)
    assert verify_reports(path, keys, until=1).reports == 4
    (path / "ledger.zl").write_bytes(whole)
    rewritten(path, 1, {"sections": {}})  # type: ignore[dict-item]
    with pytest.raises(LedgerError, match="round 1: 0 bytes of tags for 4 reports"):
        verify_reports(path, keys)
    (path / "ledger.zl").write_bytes(whole)
    # another first round: the others were answers to plans of another history
    first = decode(read_ledger(path / "ledger.zl").records[0].body, RoundCommit)
    rewritten(path, 1, {"lr": first.lr * 2})  # type: ignore[dict-item]
    with pytest.raises(LedgerError, match="round 1: the report of client 0"):
        verify_reports(path, keys)
    (path / "ledger.zl").write_bytes(whole)
    keys.write_text(Secret.new().text)
    with pytest.raises(LedgerError, match=r"or .*reports\.key has the keys of another run"):
        verify_reports(path, keys)


def test_a_report_with_another_tag_is_refused_and_its_client_named(tmp_path: Path) -> None:
    """Somebody on the way changes the scalars, drops the tag, or uses the tag of another run."""
    kept: list[ClientReport] = []

    def untagged(report: ClientReport) -> ClientReport:
        kept.append(report)
        return msgspec.structs.replace(report, sections={})

    def copied(report: ClientReport) -> ClientReport:
        return msgspec.structs.replace(report, sections=kept[-1].sections)

    def told(name: str, change: Change) -> str:
        notes: list[str] = []
        run_here(
            tiny_config(TAGGED), tmp_path / name, hostile(2, 2, change), lambda e: notes.append(str(e.get("text")))
        )
        assert verify_reports(tmp_path / name, tmp_path / name / "reports.key").reports == 11
        return "\n".join(notes)

    assert "round 2: client 2 is left out: it has no tag" in told("dropped", untagged)
    assert "round 2: client 2 is left out: its tag is not that of" in told("changed", scalars_of(0.01))
    assert "round 2: client 2 is left out: its tag is not that of" in told("copied", copied)


def test_keys_of_reports_are_no_keys_of_noise(tmp_path: Path) -> None:
    run_here(tiny_config(TAGGED), tmp_path / "run")
    secret = Secret.of_text((tmp_path / "run" / "secret.key").read_text(), "")
    assert (tmp_path / "run" / "reports.key").read_text() == report_keys(secret).text != secret.text
    assert (tmp_path / "run" / "reports.key").stat().st_mode & 0o777 == 0o600


def test_where_nobody_could_check_it_is_refused() -> None:
    for method in ("decomfl", "fedkseed", "mezo"):
        with pytest.raises(ConfigError, match="its ledger does not hold the reports"):
            tiny_config(TAGGED, f"method={method}", "zo.schedule=constant", "federation.seeds=shared",
                        f"federation.clients={1 if method == 'mezo' else 4}")  # fmt: skip
