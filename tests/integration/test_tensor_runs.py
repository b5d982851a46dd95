"""Runs whose commits are tensors: kills between ledger and snapshot, lost files, replays, Ray, clients that diverge."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.hostile_client import without_the_last
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Diverged, LedgerError, StorageError
from zorba_ray.experiment.backends import ray_backend
from zorba_ray.experiment.build import build_host, prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.methods.base import BackpropMethod
from zorba_ray.protocol import snapshot as snapshots
from zorba_ray.protocol.ledger import read_ledger

SETTINGS: dict[str, tuple[str, ...]] = {
    "fedavg": ("method_settings.lr=0.05", "method_settings.local_steps=2"),
    "fedit": ("zo.scope=lora", "method_settings.lr=0.01", "method_settings.local_steps=2", "model.lora.rank=4"),
    "fedmezo": ("zo.scope=lora", "zo.local_steps=2", "zo.lr=0.01", "model.lora.rank=4"),
}
RAY = ("federation.backend=ray", "federation.deadline_s=120", "federation.mode=packed")


def config(method: str, *overrides: str) -> ExperimentConfig:
    return tiny_config(f"method={method}", *SETTINGS[method], *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """FedAvg, three rounds, undisturbed: its directory, not to be changed, and its summary."""
    path = tmp_path_factory.mktemp("finished") / "run"
    return path, run_here(config("fedavg"), path)


@pytest.fixture
def run(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of its directory without the summary."""
    path = Path(shutil.copytree(finished[0], tmp_path / "run"))
    (path / "summary.json").unlink()
    return path


def files(run: Path) -> list[Path]:
    return sorted((run / "snapshots").iterdir())


def rounds(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["kind"] == "round"]


class TestWhatAKillLeaves:
    @pytest.mark.parametrize(("lost", "after"), [(1, 2), (2, 0)])
    def test_rounds_without_a_snapshot_are_done_again(
        self, run: Path, finished: tuple[Path, dict[str, Any]], lost: int, after: int
    ) -> None:
        """One snapshot lost: as after a kill between the ledger's record and it. All lost: the run from its start."""
        assert [path.name for path in files(run)] == ["round-00000002.safetensors", "round-00000003.safetensors"]
        for path in files(run)[-lost:]:
            path.unlink()
        said: list[str] = []
        again = run_here(config("fedavg"), run, emit=lambda event: said.append(event.get("text", "")))
        assert f"ledger: cut back from round 3 to {after}, the newest with a snapshot" in said
        assert again["resumed_after_round"] == after
        assert again["weights_sha256"] == finished[1]["weights_sha256"]
        assert [record["round"] for record in rounds(run)] == [1, 2, 3]
        assert (run / "ledger.zl").read_bytes() == (finished[0] / "ledger.zl").read_bytes()

    def test_a_torn_snapshot_is_none(self, run: Path, finished: tuple[Path, dict[str, Any]]) -> None:
        content = files(run)[-1].read_bytes()
        files(run)[-1].write_bytes(content[: len(content) // 2])
        again = run_here(config("fedavg"), run)
        assert (again["resumed_after_round"], again["weights_sha256"]) == (2, finished[1]["weights_sha256"])

    def test_a_lost_record_comes_back_from_the_ledger_without_figures_of_scalars(self, run: Path) -> None:
        kept = [
            line
            for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            if '"kind": "round"' not in line
        ]
        (run / "metrics.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
        run_here(config("fedavg"), run)
        found = rounds(run)
        assert [record["round"] for record in found] == [1, 2, 3]
        for record in found:
            assert record["recovered"] is True
            assert record["clients_ok"] == 4
            assert record["scalar_rms"] is record["scalar_mean"] is record["commit_bytes"] is None

    @pytest.mark.parametrize("every", ["null", "1"])
    def test_a_disk_that_is_full_at_a_snapshot_ends_the_run(
        self, every: str, tmp_path: Path, finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The round's tensors are nowhere else. With room again it goes on to the same weights."""
        save, calls = snapshots.save_file, []

        def full_at_the_second(*arguments: Any) -> None:
            calls.append(1)
            if len(calls) == 2:
                raise snapshots.SafetensorError("Error while serializing: No space left on device")
            save(*arguments)

        monkeypatch.setattr(snapshots, "save_file", full_at_the_second)
        own = config("fedavg", f"federation.snapshot_every={every}")
        with pytest.raises(StorageError, match="the tensors of round 2 cannot be written"):
            run_here(own, tmp_path / "run")
        assert [record["round"] for record in rounds(tmp_path / "run")] == [1]
        again = run_here(own, tmp_path / "run")
        assert (again["resumed_after_round"], again["weights_sha256"]) == (1, finished[1]["weights_sha256"])


class TestReplay:
    def test_the_newest_round_alone(self, finished: tuple[Path, dict[str, Any]], run: Path) -> None:
        assert replay_run(finished[0], None, None, None).confirmed
        assert replay_run(finished[0], 3, None, None).digest == finished[1]["weights_sha256"]
        with pytest.raises(
            ConfigError, match="--round 1: tensors are not in the ledger, and fedavg keeps only those of its"
        ):
            replay_run(finished[0], 1, None, None)
        files(run)[-1].unlink()
        found = replay_run(run, None, None, None)
        assert (found.round, found.last_round, found.confirmed) == (2, 3, False)
        files(run)[-1].unlink()
        with pytest.raises(LedgerError, match="no snapshot of this ledger"):
            replay_run(run, None, None, None)

    def test_tensors_that_the_ledger_does_not_name_are_refused(
        self, run: Path, finished: tuple[Path, dict[str, Any]]
    ) -> None:
        """A snapshot whole in itself and with this ledger's chain, of other tensors."""
        setup = prepare(config("fedavg"))
        state = build_host(setup.config, setup.header, setup.model).state
        kept = snapshots.newest_snapshot(run / "snapshots", read_ledger(run / "ledger.zl"))
        assert kept is not None
        snapshots.restore(state, kept)
        next(iter(state.movable().values()))[0] += 1.0
        snapshots.write_snapshot(run / "snapshots", state)
        for go in (lambda: replay_run(run, None, None, None), lambda: run_here(config("fedavg"), run)):
            with pytest.raises(LedgerError, match="is not the one in the ledger"):
                go()

    def test_a_record_of_the_ledger_has_no_tensors_to_follow(self, finished: tuple[Path, dict[str, Any]]) -> None:
        setup = prepare(config("fedavg"))
        state = build_host(setup.config, setup.header, setup.model).state
        with pytest.raises(LedgerError, match=r"round 1: 32 bytes of tensors, \d+ expected; a ledger keeps no tensors"):
            state.apply(read_ledger(finished[0] / "ledger.zl").records[0].body)


class TestDivergence:
    def test_a_client_that_diverged_is_left_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The run is that of a federation in which it never answers."""
        missing = run_here(config("fedavg"), tmp_path / "missing", without_the_last)
        train = BackpropMethod.train

        def last_diverges(self: BackpropMethod, state: Any, model: Any, plan: Any, client: int, batches: Any) -> Any:
            tensors, loss = train(self, state, model, plan, client, batches)
            if client == 3:
                tensors = {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()}
            return tensors, loss

        monkeypatch.setattr(BackpropMethod, "train", last_diverges)
        found = run_here(config("fedavg"), tmp_path / "run")
        assert found["clients_rejected"] == found["rounds"]
        assert found["weights_sha256"] == missing["weights_sha256"]
        assert rounds(tmp_path / "run")[0]["rejected"] == {"3": "a trained tensor is not finite: its training diverged"}

    @pytest.mark.parametrize(("method", "rate"), [("fedavg", "method_settings.lr=1e30"), ("fedmezo", "zo.lr=1e38")])
    def test_where_all_diverge_the_run_ends_by_name(self, method: str, rate: str, tmp_path: Path) -> None:
        with pytest.raises(Diverged, match=r"numbers of 4 of 4 clients .*: lower the learning rate"):
            run_here(config(method, rate), tmp_path / "run")


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
class TestRay:
    @pytest.mark.parametrize(("method", "workers"), [("fedavg", 1), ("fedavg", 2), ("fedit", 2), ("fedmezo", 2)])
    def test_one_result_however_many_workers(
        self, method: str, workers: int, tmp_path: Path, finished: tuple[Path, dict[str, Any]]
    ) -> None:
        here = finished[1] if method == "fedavg" else run_here(config(method), tmp_path / "here")
        there = run_here(config(method, *RAY, f"federation.workers={workers}"), tmp_path / "there", ray_backend)
        assert there["weights_sha256"] == here["weights_sha256"]
        for key in ("bytes_up_per_client_round", "bytes_down_per_client_round", "final_loss", "test_accuracy"):
            assert there[key] == here[key]
        assert replay_run(tmp_path / "there", None, None, None).confirmed

    def test_a_killed_actor_is_brought_up_from_the_snapshot(
        self, tmp_path: Path, finished: tuple[Path, dict[str, Any]]
    ) -> None:
        backends: list[Any] = []

        def keep(*arguments: Any) -> Any:
            backends.append(ray_backend(*arguments))
            return backends[-1]

        def strike(event: dict[str, Any]) -> None:
            if event["kind"] == "round" and event["round"] == 2:
                os.kill(next(iter(backends[0].processes().values())), signal.SIGKILL)

        found = run_here(config("fedavg", *RAY, "federation.workers=2"), tmp_path / "run", keep, strike)
        assert found["weights_sha256"] == finished[1]["weights_sha256"]
        assert found["clients_failed"] == found["clients_late"] == 0
        assert found["retries"] >= 1
