"""Whole runs without Ray: outputs, reproducibility, interruption, damage, replay, export."""

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.conftest import TINY_TREE, Cli
from tests.support.tiny_run import run_here
from zorba_ray.artifacts import RunDir, held
from zorba_ray.config import config_from_tree
from zorba_ray.config.base import apply_override, parse_override
from zorba_ray.errors import Interrupted, LedgerError, LostClients, RunDirError
from zorba_ray.experiment import run as run_module
from zorba_ray.experiment.backends import BackendFactory, sequential_backend
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.federation import Backend, ClientHost
from zorba_ray.federation.backend import Answer, Failure
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, decode, decode_question, encode

SUMMARY = """
method rounds start_loss final_loss start_accuracy final_accuracy test_accuracy weights_sha256 bytes_up_per_client_round
bytes_down_per_client_round peak_rss_bytes vram_bytes_per_client allocation_gap wall_s cpu_s
""".split()  # noqa: SIM905
"""What a summary has at least."""


def execute(
    path: Path, *overrides: str, stop_after: int | None = None, backend: BackendFactory | None = None
) -> dict[str, Any]:
    """A run in `path`, resumed where there is one; `stop_after`: rounds of this session before it is asked to stop."""
    tree, rounds = copy.deepcopy(TINY_TREE), list[int]()
    for override in overrides:
        apply_override(tree, *parse_override(override))

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "round":
            rounds.append(event["round"])

    config = config_from_tree(tree, "test")
    return run_here(config, path, backend, emit, lambda: stop_after is not None and len(rounds) >= stop_after)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def rounds_of(path: Path) -> list[int]:
    return [record["round"] for record in records(path) if record["kind"] == "round"]


def evals_of(path: Path) -> list[tuple[int, str]]:
    return sorted((record["round"], record["split"]) for record in records(path) if record["kind"] == "eval")


ALL_EVALS = [(0, "test"), (0, "validation"), (2, "validation"), (4, "test"), (4, "validation")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run; tests copy it before they touch it."""
    path = tmp_path_factory.mktemp("straight") / "run"
    execute(path)
    return path


@pytest.fixture(scope="module")
def sha(straight: Path) -> str:
    return json.loads((straight / "summary.json").read_text(encoding="utf-8"))["weights_sha256"]


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted, match="stopped after round 2 of 4"):
        execute(path, stop_after=2)
    return path


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy of a run that was asked to stop after round 2."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


# One run ------------------------------------------------------------------------------------------------------------


def test_the_command_leaves_everything_and_the_same_digest(
    cli: Cli, tiny_file: Path, tmp_path: Path, straight: Path, sha: str
) -> None:
    path = tmp_path / "run"
    outcome = cli("run", tiny_file, "--run-dir", path)
    assert outcome.code == 0, outcome.err
    assert sha in outcome.out
    names = ["config.resolved.json", "provenance.json", "allocation.json", "ledger.zl", "metrics.jsonl", "summary.json"]
    for name in names:
        assert (path / name).stat().st_size > 0, name
    assert not (path / "pending.json").exists()
    assert (path / "ledger.zl").read_bytes() == (straight / "ledger.zl").read_bytes(), "same settings, same ledger"


def test_the_summary_holds_what_was_asked_for(straight: Path) -> None:
    summary = json.loads((straight / "summary.json").read_text(encoding="utf-8"))
    assert set(SUMMARY) <= summary.keys()
    assert all(summary[key] is not None for key in SUMMARY)
    assert (summary["status"], summary["rounds"], summary["rounds_done"]) == ("finished", 4, 4)
    evals = {(r["round"], r["split"]): r for r in records(straight) if r["kind"] == "eval"}
    assert summary["cut_rows"].keys() == {"train", "validation", "test"}
    assert summary["cut_rows"]["train"]["rows"] == 0 < summary["cut_rows"]["train"]["total"]
    assert summary["start_loss"] == evals[0, "validation"]["loss"]
    assert summary["final_loss"] == evals[4, "validation"]["loss"]
    assert summary["test_accuracy"] == evals[4, "test"]["accuracy"]
    vram = summary["vram_bytes_per_client"]
    assert (vram["source"], vram["accelerator"]) == ("modelled", "simulated")
    assert [client["client"] for client in vram["clients"]] == [0, 1, 2, 3]


def test_bytes_in_the_summary_are_those_of_the_frames(straight: Path) -> None:
    """Rounds 1–4, 4 clients, P = 1, 24 examples each. By hand as in test_protocol_messages: report
    6 + 1 + 1 + 1 + 10 + 6 + 1 + 6 = 32, plan 6 + 1 + 1 + 9 + 9 + 10 + 1 = 37,
    commit of all four, without ids, 6 + 1 + 1 + 9 + 1 + 2 + (2 + 16) = 38."""
    summary = json.loads((straight / "summary.json").read_text(encoding="utf-8"))
    assert summary["bytes_up_per_client_round"] == 32
    assert summary["bytes_down_per_client_round"] == 37 + 38
    # Six blocks or fewer: one byte per client, in the plan and in the commit of round 1, and what frames it.
    assert 2 * 4 <= summary["active_set_bytes"] <= 2 * (4 + 2)


def test_every_round_is_in_the_metrics(straight: Path) -> None:
    assert rounds_of(straight) == [1, 2, 3, 4]
    assert evals_of(straight) == ALL_EVALS
    assert all(record["clients_ok"] == 4 for record in records(straight) if record["kind"] == "round")
    rates = [record["lr"] for record in records(straight) if record["kind"] == "round"]
    assert rates == sorted(rates, reverse=True), "linear schedule"
    assert len(set(rates)) == 4


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_direction_backends_give_one_digest(tmp_path: Path, sha: str, backend: str) -> None:
    assert execute(tmp_path / "run", f"directions.backend={backend}")["weights_sha256"] == sha


def test_a_seed_changes_the_digest(tmp_path: Path, sha: str) -> None:
    summary = execute(tmp_path / "run", "seed=18446744073709551615", "rounds=1")
    assert summary["weights_sha256"] != sha
    assert replay_run(tmp_path / "run", None, None, None).confirmed


def budgets_for_two_blocks() -> str:
    """A fleet of which the first two clients have room for two blocks (all blocks of the built-in model are equal)."""
    memory = prepare(config_from_tree(TINY_TREE, "test")).memory.of(None)
    small, large = (memory.bytes_of(frozenset(range(blocks))) for blocks in (2, len(memory.active_extra)))
    return f"federation.fleet=[{{name: s, count: 2, vram: {small}}}, {{name: l, count: 2, vram: {large}}}]"


@pytest.mark.parametrize(
    "overrides",
    [
        ["zo.local_steps=2", "zo.directions=2", "zo.clip=50"],
        ["federation.seeds=shared", "zo.distribution=gaussian"],
        ["federation.seeds=shared", "zo.directions=2", "federation.participants=3", "federation.snapshot_every=1"],
        ["zo.rank=2", "zo.scope=all", "zo.lr=1e-4", "zo.local_steps=2"],
        ["federation.aggregate=clip_spread", "federation.spread=1.5", "zo.directions=2", "federation.snapshot_every=1"],
        ["federation.weights=inverse_noise", "zo.local_steps=2", "federation.participants=3", "BUDGETS"],
        ["federation.participants=0.5", "zo.scope=all", "zo.lr=1e-4", "data.partition=dirichlet", "data.alpha=0.3"],
    ],
    ids=lambda overrides: "+".join(overrides),
)
def test_variants_run_resume_and_replay(tmp_path: Path, overrides: list[str]) -> None:
    path = tmp_path / "run"
    budgets = "BUDGETS" in overrides
    overrides = [budgets_for_two_blocks() if override == "BUDGETS" else override for override in overrides]
    with pytest.raises(Interrupted):
        execute(path, "rounds=3", *overrides, stop_after=1)
    execute(path, "rounds=3", *overrides)
    direct = execute(tmp_path / "direct", "rounds=3", *overrides)
    replayed = replay_run(path, None, None, None)
    assert replayed.confirmed
    assert replayed.digest == direct["weights_sha256"]
    told = [record for record in records(path) if record["kind"] == "round"]
    asked = [record["clients_asked"] for record in told]
    for record in told[1:]:  # a commit goes to all four, or who was not asked could not catch up
        assert record["bytes_down"] == asked[0] * record["plan_bytes"] + 4 * record["commit_bytes"]
    wanted = {"federation.participants=3": 3, "federation.participants=0.5": 2}
    assert asked == [next((wanted[o] for o in overrides if o in wanted), 4)] * 3
    allocation = json.loads((path / "allocation.json").read_text(encoding="utf-8"))
    held = [len(client["blocks"]) for client in allocation["clients"]]
    assert held == ([2, 2] if budgets else [allocation["blocks"]] * 2) + [allocation["blocks"]] * 2


# Interruption and damage --------------------------------------------------------------------------------------------


def test_a_stopped_run_says_so(stopped: Path, sha: str) -> None:
    summary = json.loads((stopped / "summary.json").read_text(encoding="utf-8"))
    assert (summary["status"], summary["rounds_done"]) == ("interrupted", 2)
    assert summary["weights_sha256"] != sha
    assert rounds_of(stopped) == [1, 2]


def test_resume_ends_as_undisturbed(stopped: Path, straight: Path, sha: str) -> None:
    summary = execute(stopped)
    assert summary["weights_sha256"] == sha
    assert summary["resumed_after_round"] == 2
    assert rounds_of(stopped) == [1, 2, 3, 4]
    assert evals_of(stopped) == ALL_EVALS
    assert (stopped / "ledger.zl").read_bytes() == (straight / "ledger.zl").read_bytes()


def test_resume_with_what_may_change(stopped: Path, sha: str) -> None:
    changes = ["directions.backend=numpy", "eval.every=3", "tracking.project=other", "name=other"]
    assert execute(stopped, *changes, "federation.workers=7")["weights_sha256"] == sha


def test_resume_with_what_must_not_change(cli: Cli, tiny_file: Path, stopped: Path) -> None:
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    outcome = cli("run", tiny_file, "zo.lr=0.5", "federation.seeds=shared", "--run-dir", stopped, "--resume")
    assert outcome.code == 2
    assert "zo.lr: 0.02 -> 0.5" in outcome.err
    assert "federation.seeds: 'per_client' -> 'shared'" in outcome.err
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


def test_a_torn_tail_is_cut_and_the_round_done_again(cli: Cli, tiny_file: Path, stopped: Path, sha: str) -> None:
    """Killed while round 2 was being written: half of its record is there, and its metrics too."""
    whole = read_ledger(stopped / "ledger.zl")
    ledger = stopped / "ledger.zl"
    ledger.write_bytes(ledger.read_bytes()[: whole.records[1].offset + 30])
    outcome = cli("run", tiny_file, "--run-dir", stopped, "--resume")
    assert outcome.code == 0, outcome.err
    assert "cut 30 bytes of a torn record after round 1" in outcome.err
    assert sha in outcome.out
    assert rounds_of(stopped) == [1, 2, 3, 4]
    assert evals_of(stopped) == ALL_EVALS


def test_a_flipped_bit_is_refused_and_nothing_is_touched(cli: Cli, tiny_file: Path, stopped: Path) -> None:
    ledger = stopped / "ledger.zl"
    data = bytearray(ledger.read_bytes())
    data[-50] ^= 4
    ledger.write_bytes(data)
    metrics = (stopped / "metrics.jsonl").read_bytes()
    outcome = cli("run", tiny_file, "--run-dir", stopped, "--resume")
    assert outcome.code == 6
    assert "offset" in outcome.err
    assert ledger.read_bytes() == bytes(data)
    assert (stopped / "metrics.jsonl").read_bytes() == metrics
    assert cli("replay", stopped).code == 6


def test_lost_metrics_come_back_from_the_ledger(stopped: Path, sha: str) -> None:
    (stopped / "metrics.jsonl").unlink()
    summary = execute(stopped)
    assert summary["weights_sha256"] == sha
    assert rounds_of(stopped) == [1, 2, 3, 4]
    assert [record["recovered"] for record in records(stopped) if record["kind"] == "round"] == [
        True,
        True,
        False,
        False,
    ]
    assert summary["bytes_up_per_client_round"] == 32


def test_a_kill_between_ledger_and_metrics_loses_nothing(stopped: Path, sha: str) -> None:
    """pending.json holds the record of a round whose commit is in the ledger and whose metrics line is not."""
    lines = (stopped / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    lost = next(line for line in lines if json.loads(line)["kind"] == "round" and json.loads(line)["round"] == 2)
    (stopped / "metrics.jsonl").write_text("".join(line for line in lines if line != lost), encoding="utf-8")
    (stopped / "pending.json").write_text(lost, encoding="utf-8")
    assert execute(stopped)["weights_sha256"] == sha
    found = {record["round"]: record for record in records(stopped) if record["kind"] == "round"}
    assert sorted(found) == [1, 2, 3, 4]
    assert found[2]["loss"] == json.loads(lost)["loss"]


def test_a_kill_before_the_first_commit(tmp_path: Path, sha: str) -> None:
    """Only the settings are there: resume begins at the beginning."""
    RunDir.create(tmp_path / "run", config_from_tree(TINY_TREE, "test"))
    assert execute(tmp_path / "run")["weights_sha256"] == sha


def test_a_ledger_of_other_data_is_refused_by_field(stopped: Path, tmp_path: Path) -> None:
    """data.path may change on a resume; what it holds may not."""
    rows = "".join(json.dumps({"text": f"the soup was {i}", "label": i % 4}) + "\n" for i in range(96))
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    before = (stopped / "ledger.zl").read_bytes()
    with pytest.raises(LedgerError, match=r"data_sha256: .*data\.path has other examples"):
        execute(stopped, f"data.path={tmp_path}")
    assert (stopped / "ledger.zl").read_bytes() == before


def test_a_directory_in_use_is_refused(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "held", lambda path, wait_s, tell: held(path, 0.3))
    with held(stopped), pytest.raises(RunDirError, match="in use by another process"):
        execute(stopped)


# Clients that fail --------------------------------------------------------------------------------------------------


def wrapped(alter: Callable[[int, int, Answer], Answer]) -> BackendFactory:
    """The sequential backend with a hand in the answers: (round, client, answer) -> answer."""

    def make(setup: Setup, host: ClientHost, run: RunDir) -> Backend:
        backend = sequential_backend(setup, host, run)
        ask = backend.ask

        def altered(plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
            number = decode_question(plan).round
            return {client: alter(number, client, answer) for client, answer in ask(plan, clients).items()}

        backend.ask = altered  # type: ignore[method-assign]
        return backend

    return make


def test_nan_from_one_client_is_rejected_by_name_and_the_run_goes_on(tmp_path: Path, sha: str) -> None:
    def alter(round: int, client: int, answer: Answer) -> Answer:
        if (round, client) != (2, 1):
            return answer
        assert isinstance(answer, bytes)
        report = decode(answer, ClientReport)
        return encode(msgspec.structs.replace(report, scalars=np.full(1, np.nan, "<f4").tobytes()))

    summary = execute(tmp_path / "run", backend=wrapped(alter))
    assert summary["status"] == "finished"
    assert summary["clients_rejected"] == 1
    assert summary["weights_sha256"] != sha
    second = next(r for r in records(tmp_path / "run") if r["kind"] == "round" and r["round"] == 2)
    assert second["rejected"] == {"1": "a scalar is not finite"}
    assert (second["clients_ok"], second["report_bytes"]) == (3, 4 * 32)
    assert replay_run(tmp_path / "run", None, None, None).confirmed


def test_lost_clients_stop_the_run_and_it_can_be_resumed(tmp_path: Path, sha: str) -> None:
    def alter(round: int, client: int, answer: Answer) -> Answer:
        return Failure("failed", "power cut") if round == 3 and client != 0 else answer

    with pytest.raises(LostClients, match=r"round 3: 1 of 4 reports.*client 1: power cut"):
        execute(tmp_path / "run", backend=wrapped(alter))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["status"], summary["rounds_done"]) == ("lost_clients", 2)
    assert execute(tmp_path / "run")["weights_sha256"] == sha


# Replay and export --------------------------------------------------------------------------------------------------


def test_replay_confirms_the_digest(cli: Cli, straight: Path, stopped: Path, sha: str) -> None:
    outcome = cli("replay", straight)
    assert outcome.code == 0, outcome.err
    assert f"θ SHA-256 {sha} (as in the run's summary)" in outcome.out
    assert "round 4 of 4" in outcome.out
    middle = json.loads((stopped / "summary.json").read_text(encoding="utf-8"))["weights_sha256"]
    outcome = cli("replay", straight, "--round", 2)
    assert middle in outcome.out, "round 2 of the straight run is where the stopped one stood"
    assert "as in the run's summary" not in outcome.out
    start = read_ledger(straight / "ledger.zl").header.weights_sha256
    assert start in cli("replay", straight, "--round", 0).out


def test_replay_notices_a_summary_that_disagrees(straight: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(straight, tmp_path / "run"))
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    del summary["sha256"]  # changed on purpose
    (path / "summary.json").write_text(json.dumps({**summary, "weights_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(LedgerError, match="its summary says 0000"):
        replay_run(path, None, None, None)


def test_an_export_loads_and_is_the_same_model(cli: Cli, straight: Path, tmp_path: Path, sha: str) -> None:
    import torch
    import transformers

    from zorba_ray.config import ModelConfig
    from zorba_ray.models import Replica, load_model

    folder = tmp_path / "exported"
    assert cli("replay", straight, "--export", folder).code == 0
    loaded = load_model(ModelConfig(path=str(folder)))
    assert Replica(loaded).digest() == sha
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokens = loaded.tokenizer(["the soup was very nice It was"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(**tokens).logits, loaded.network(**tokens).logits)
    outcome = cli("replay", straight, "--export", folder)
    assert outcome.code == 2
    assert "not empty" in outcome.err


def test_a_replay_beyond_the_ledger_is_refused(cli: Cli, straight: Path) -> None:
    outcome = cli("replay", straight, "--round", 5)
    assert outcome.code == 2
    assert "ends at round 4" in outcome.err
