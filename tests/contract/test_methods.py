"""What every federated method promises, on small real runs: one result however often and wherever it is computed, a
replay that gives the same bytes, rounds that go on without some clients, frames of the size that they must have."""

import importlib
import json
from pathlib import Path

import pytest

from tests.support.hostile_client import without_the_last
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig, load_method, method_names
from zorba_ray.errors import ConfigError, Interrupted
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.experiment.client_memory import workload
from zorba_ray.experiment.replay import replay_run
from zorba_ray.experiment.task_model import host_store
from zorba_ray.memory.count import counted
from zorba_ray.memory.footprint import Footprint
from zorba_ray.methods import method_of
from zorba_ray.protocol.ledger import read_ledger


def _tiny() -> dict[str, tuple[str, ...]]:
    """Method -> what its tiny run sets beside the tiny run's settings: TINY of every tests/unit/test_method_*.py."""
    files = sorted((Path(__file__).parents[1] / "unit").glob("test_method_*.py"))
    modules = [importlib.import_module(f"tests.unit.{file.stem}") for file in files]
    return {name: own for module in modules for name, own in module.TINY.items()}


TINY = _tiny()


FEDERATED = [name for name in TINY if not load_method(name).central]


def config(method: str, *overrides: str) -> ExperimentConfig:
    return tiny_config(f"method={method}", *TINY[method], *overrides)


def test_every_method_is_here() -> None:
    assert set(method_names()) < set(TINY)


@pytest.mark.parametrize("method", TINY)
def test_one_result_however_often_it_is_computed(method: str, tmp_path: Path) -> None:
    first = run_here(config(method), tmp_path / "first")
    second = run_here(config(method), tmp_path / "second")
    assert first["status"] == second["status"] == "finished"
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["final_loss"] == second["final_loss"] != first["start_loss"]
    other = run_here(config(method, "seed=9"), tmp_path / "other")
    assert other["weights_sha256"] != first["weights_sha256"]


@pytest.mark.parametrize("method", TINY)
def test_a_replay_gives_the_runs_weights(method: str, tmp_path: Path) -> None:
    summary = run_here(config(method), tmp_path / "run")
    replayed = replay_run(tmp_path / "run", None, None, None)
    assert replayed.confirmed
    assert replayed.digest == summary["weights_sha256"]


@pytest.mark.parametrize("method", TINY)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(method: str, tmp_path: Path) -> None:
    straight = run_here(config(method), tmp_path / "straight")
    asked: list[bool] = []

    def after_two_rounds() -> bool:
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(Interrupted):
        run_here(config(method), tmp_path / "stopped", should_stop=after_two_rounds)
    resumed = run_here(config(method), tmp_path / "stopped")
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert resumed["resumed_after_round"] == 2


@pytest.mark.parametrize("method", FEDERATED)
def test_rounds_go_on_without_a_client(method: str, tmp_path: Path) -> None:
    whole = run_here(config(method), tmp_path / "whole")
    summary = run_here(config(method), tmp_path / "missing", without_the_last)
    assert summary["status"] == "finished"
    assert summary["clients_failed"] == summary["rounds"]
    assert summary["weights_sha256"] != whole["weights_sha256"]
    assert replay_run(tmp_path / "missing", None, None, None).confirmed


@pytest.mark.parametrize("method", FEDERATED)
def test_rounds_go_on_when_a_client_leaves(method: str, tmp_path: Path) -> None:
    """Client 0, who stands for all in a commit of mean scalars."""
    changes = 'federation.changes=[{"round": 2, "client": 0, "present": false}]'
    run_here(config(method, changes), tmp_path / "run")
    told = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    distances = [one["distance"] for one in told if one["kind"] == "round"]
    assert len(set(distances)) == 3  # θ moves in every round
    assert replay_run(tmp_path / "run", None, None, None).confirmed


@pytest.mark.parametrize("method", TINY)
def test_the_ledger_says_whose_it_is(method: str, tmp_path: Path) -> None:
    run_here(config(method), tmp_path / "run")
    header = read_ledger(tmp_path / "run" / "ledger.zl").header
    assert (header.method, header.commits) == (method, load_method(method).commits)


@pytest.mark.parametrize("method", TINY)
def test_blocks_wait_on_a_host_only_where_commits_are_scalars(method: str) -> None:
    """On a real GPU; elsewhere θ must be on the device, as pools and tensors are applied at once."""
    store = host_store(config(method), "cuda")
    assert (store is not None) == (load_method(method).commits in ("scalars", "mean"))


@pytest.mark.parametrize("method", TINY)
def test_a_clients_bytes_are_those_of_the_methods_own_step(method: str, tmp_path: Path) -> None:
    """Counted, on the tensors that the run trains; in the allocation record and in the summary. Where the server
    allocates blocks, by the formula that budgets rest on."""
    own = config(method)
    setup = prepare(own)
    summary = run_here(own, tmp_path / "run")
    (found,) = {client["bytes"] for client in summary["vram_bytes_per_client"]["clients"]}
    allocates = load_method(method).allocates
    assert summary["vram_bytes_per_client"]["source"] == ("modelled" if allocates else "counted")
    if not allocates:
        assert found == counted_step(own, setup).total


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [("mezo", None), ("decomfl", None), ("fedkseed", None), ("fedavg", "sgd"), ("fedavg", "adamw")],
)
def test_a_method_of_whole_tensors_may_train_adapters_alone(method: str, optimizer: str | None) -> None:
    overrides = [f"method_settings.optimizer={optimizer}"] if optimizer else []
    own = config(method, "zo.scope=lora", "model.lora.rank=4", *overrides)
    setup = prepare(own)
    told = counted_step(own, setup)
    everything = frozenset(range(setup.header.blocks))
    assert setup.memory.of(None).bytes_of(everything) == told.total
    assert (told.parts["optimizer state"] > 4 * 8) == (optimizer == "adamw")


def counted_step(own: ExperimentConfig, setup: Setup) -> Footprint:
    plain = own.model.model_copy(update={"lora": None})
    return counted(
        plain, "bf16", workload(own, setup.model.loaded, setup.header.sections), method_of(own).local_step(own)
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=decomfl", "federation.seeds=per_client"], "federation.seeds=per_client"),
        (["method=decomfl", "allocation.epsilon=0.5"], "no blocks to allocate"),
        (["method=mezo", "federation.clients=4"], "federation.clients=4: mezo has one client"),
        (["method=fedmezo", "zo.scope=all"], "trains only the adapters"),
        (["method=fedit", "model.lora=null"], "set model.lora"),
        (["zo.scope=lora"], "this model has no adapters"),
        (["method=fedkseed", "zo.schedule=linear"], "need the same rate"),
        (["method=fedkseed", "zo.schedule=constant", "zo.directions=3"], "zo.directions=3"),
        (["zo.difference=forward", "zo.rank=1", "zo.scope=all"], "always run both signs"),
    ],
)
def test_what_a_method_cannot_do_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(*overrides)
