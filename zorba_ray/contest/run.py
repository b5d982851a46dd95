"""Runs a comparison: rates first, then every method on every seed; what is finished is never done again."""

import functools
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from zorba_ray.artifacts import RunDir, Summary
from zorba_ray.config import ExperimentConfig, ModelConfig
from zorba_ray.contest.cells import TUNING_SEED, Cell, Contest, cell, ladder_of
from zorba_ray.contest.state import ContestState
from zorba_ray.errors import ConfigError, Diverged, Interrupted, StorageError, SweepIncomplete, ZorbaError
from zorba_ray.experiment.execute import execute
from zorba_ray.experiment.run import Closing
from zorba_ray.experiment.session import Emit
from zorba_ray.federation.accelerator import choose_accelerator, with_counted_gpus
from zorba_ray.models import Manifest, load_model
from zorba_ray.models.blocks import model_manifest
from zorba_ray.protocol.ledger import read_ledger


def run_contest(
    contest: Contest,
    state: ContestState,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None,
) -> None:
    """To the last run. Runs that failed before are tried again.

    Raises:
        Interrupted: asked to stop; every run's ledger is whole.
        SweepIncomplete: some runs failed; the others are whole. A run that diverged has not failed.
        RunDirError: another process is at it, or data or weights are not those of the runs before.
        StorageError: the disk is full.
    """
    chosen: dict[str, float | None] = state.tree["chosen"]
    with state.held():
        ladders = {name: ladder_of(contest, name, _size_of) for name in contest.methods if name not in chosen}
        for method in contest.methods:
            rate = chosen.get(method)
            if rate is None:
                rate = _tune(contest, state, method, ladders[method], command, emit, should_stop)
            if rate is None:
                continue
            for seed in contest.seeds:
                _run(cell(contest, method, seed, rate, tuning=False), state, command, emit, should_stop, closing)
    failed = [path for path, own in state.tree["cells"].items() if own["status"] == "failed"]
    if failed:
        raise SweepIncomplete(f"{len(failed)} run(s) failed: {', '.join(failed)}; the reasons are in {state.path}")


def _tune(
    contest: Contest,
    state: ContestState,
    method: str,
    ladder: tuple[float, ...],
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
) -> float | None:
    """The rate with the lowest final validation loss; the smallest of the ladder where all diverge; None where a run
    failed, which says nothing about its rate."""
    if len(ladder) == 1:
        state.choose(method, {}, ladder[0])
        return ladder[0]
    tried: dict[str, float | None] = {}
    for rate in ladder:
        own = cell(contest, method, contest.base.seed + TUNING_SEED, rate, tuning=True)
        _run(own, state, command, emit, should_stop, None)
        if state.tree["cells"][own.path]["status"] == "failed":
            return None
        tried[f"{rate:g}"] = state.tree["cells"][own.path].get("final_loss")
    ended = {rate: tried[f"{rate:g}"] for rate in ladder if tried[f"{rate:g}"] is not None}
    best = min(ended, key=lambda rate: ended[rate] or 0.0) if ended else min(ladder)
    state.choose(method, tried, best)
    return best


def _run(
    own: Cell,
    state: ContestState,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None,
) -> None:
    if state.at_an_end(own):
        return
    path = state.path / own.path
    emit({"kind": "cell", "path": own.path, "rounds": own.config.rounds})
    try:
        accelerator = choose_accelerator(own.config)
        config = with_counted_gpus(own.config, accelerator)
        run = RunDir.reopen(path, config) if (path / "ledger.zl").exists() else RunDir.create(path, config)
        summary = execute(config, run, accelerator, command, emit, should_stop, closing)
        state.check_inputs(own, read_ledger(run.ledger).header)
    except (Interrupted, StorageError) as error:
        with suppress(StorageError):  # the first one says it all
            state.note(own, "interrupted", {})
        if isinstance(error, StorageError):
            raise
        raise Interrupted(
            f"stopped in {own.path}; continue with `zorba-ray compare … --dir {state.path} --resume`"
        ) from error
    except ConfigError:  # would fail for every seed alike, and is the user's to mend
        raise
    except ZorbaError as error:
        facts = {"error": f"{type(error).__name__}: {error}", "round": _rounds_done(path)}
        status = "diverged" if isinstance(error, Diverged) else "failed"
        state.note(own, status, facts)
        emit({"kind": "note", "text": f"{own.path} {status}: {error}"})
        return
    except Exception as error:  # ours to mend; the other runs go on
        state.note(own, "failed", {"error": traceback.format_exc(), "round": _rounds_done(path)})
        emit({"kind": "note", "text": f"{own.path} failed: {type(error).__name__}: {error}"})
        return
    state.note(own, "finished", {"final_loss": summary["final_loss"]})


def _rounds_done(path: Path) -> int | None:
    run = RunDir(path)
    return run.read(run.summary, Summary).rounds_done if run.summary.exists() else None


def _size_of(config: ExperimentConfig) -> int:
    return sum(_manifest(config.model.model_dump_json()).sizes(config.zo.fixed_scope))


@functools.cache
def _manifest(model: str) -> Manifest:
    loaded = load_model(ModelConfig.model_validate_json(model))
    return model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
