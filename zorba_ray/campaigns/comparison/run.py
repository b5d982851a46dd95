"""Runs a comparison: first it chooses rates, then it runs every method on every seed. Finished runs are not
repeated."""

import functools
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zorba_ray.artifacts import RunDir, held
from zorba_ray.artifacts.campaigns import Comparison, ComparisonCell
from zorba_ray.campaigns.cell import Ending, is_done, run_cell
from zorba_ray.campaigns.comparison.cells import (
    TUNING_SEED,
    ComparisonPlan,
    PlannedRun,
    cell_config,
    describe,
    ladder_of,
)
from zorba_ray.campaigns.comparison.cells import planned_run as planned
from zorba_ray.campaigns.comparison.machines import PLACEMENTS, method_fit
from zorba_ray.campaigns.directory import CampaignDir, changes, require_same
from zorba_ray.config import ExperimentConfig, ModelConfig, load_method
from zorba_ray.errors import ConfigError, Interrupted, RunDirError, StorageError
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.execute import execute
from zorba_ray.experiment.run import Closing
from zorba_ray.experiment.session import Emit
from zorba_ray.federation.accelerator import choose_accelerator, with_counted_gpus
from zorba_ray.models import Manifest, load_model
from zorba_ray.models.blocks import model_manifest
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.tasks.reward_code import RewardCode
from zorba_ray.zo.ladder import best_rate, rate_beyond

BEYOND = 2
"""Most rates that are tried beyond the ends of a ladder."""


def open_comparison(path: Path, plan: ComparisonPlan, resume: bool, command: list[str]) -> CampaignDir[Comparison]:
    """The directory of a new comparison, or with `resume` of one that goes on.

    Raises:
        RunDirError: without `resume`, the folder is not free; with it, there is nothing to resume, or the comparison
            differs.
        StorageError: it cannot be written.
    """
    description = describe(plan)
    if resume:
        directory = CampaignDir.resume(path, Comparison)
        require_same(path, changes(directory.state.asked, description), "comparison")
        return directory
    state = Comparison(name=plan.base.name, command=tuple(command), asked=description, passes=plan.passes)
    directory = CampaignDir.begin(path, state, "--dir")
    directory.write()
    return directory


def run_comparison(
    plan: ComparisonPlan,
    directory: CampaignDir[Comparison],
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None,
    reward: RewardCode | None = None,
) -> None:
    """Runs all runs that are not finished. Runs that failed before are tried again.

    Raises:
        Interrupted: asked to stop; every run can be resumed.
        SweepIncomplete: some runs failed; the others are complete. A run that diverged has not failed.
        RunDirError: another process uses the directory, or data or weights are not those of earlier runs.
        StorageError: the disk is full.
    """
    with held(directory.path):
        _Session(plan, directory, command, emit, should_stop, closing, reward).run()


def judge_machines(
    plan: ComparisonPlan, directory: CampaignDir[Comparison], emit: Emit, reward: RewardCode | None = None
) -> ComparisonPlan:
    """Finds out which machines can take part in which method, once: a resume reads it from compare.json. The plan is as
    it was without `federation.fleet`, and if runs began before machines were judged.

    Raises:
        ConfigError, DataError, ModelError: as `prepare` and `method_fit`.
    """
    fits = directory.state.fits
    if plan.base.federation.fleet is None or (directory.state.cells and not fits):
        return plan
    missing = [name for name in plan.methods if name not in fits]
    setup = prepare(plan.base, reward=reward) if missing else None
    for name in missing:
        assert setup is not None
        emit({"kind": "note", "text": f"{name}: which machines can take part?"})
        config = cell_config(plan, name, plan.base.seed, 1e-3, 1.0)
        format = config.memory.frozen_format
        given = any(text.startswith("memory.frozen_format=") for text in plan.overrides.get(name, ()))
        formats = (format,) if given and format != "auto" else ()
        fits[name] = method_fit(config, setup, plan.placements.get(name, PLACEMENTS), formats)
        directory.write()
    return replace(plan, fits=fits)


@dataclass
class _Session:
    plan: ComparisonPlan
    directory: CampaignDir[Comparison]
    command: list[str]
    emit: Emit
    should_stop: Callable[[], bool]
    closing: Closing | None
    reward: RewardCode | None

    @property
    def state(self) -> Comparison:
        return self.directory.state

    def run(self) -> None:
        self.plan = judge_machines(self.plan, self.directory, self.emit, self.reward)
        plan, chosen = self.plan, self.state.chosen
        able = [name for name in plan.methods if self._has_clients(name)]
        ladders = {name: ladder_of(plan, name, _size_of) for name in able if name not in chosen}
        for method in able:
            rate = chosen[method] if method in chosen else self._choose(method, ladders[method])
            if rate is not None:
                for seed in plan.seeds:
                    self._run(planned(plan, method, seed, rate, tuning=False), self.closing)
        self.directory.require_whole([(path, cell, "") for path, cell in self.state.cells.items()])

    def _has_clients(self, method: str) -> bool:
        """Whether a machine of the fleet can take part; a method with all data in one place needs none."""
        fit = self.plan.fits.get(method)
        return fit is None or load_method(method).central or len(fit.left_out) < fit.clients

    def _choose(self, method: str, ladder: tuple[float, ...]) -> float | None:
        """The rate with the lowest final validation loss or the highest reward; the smallest rate if all diverge; None
        if a run failed, which says nothing about its rate. A ladder of three or more goes on until the best has a worse
        rate on each side, by at most BEYOND rates."""
        tried: dict[float, float | None] = {}
        left = ladder if len(ladder) > 1 else ()
        while left:
            for rate in left:
                tuning = planned(self.plan, method, self.plan.base.seed + TUNING_SEED, rate, tuning=True)
                self._run(tuning, None)
                cell = self.state.cells[tuning.path]
                if cell.status == "failed":
                    return None
                tried[rate] = cell.final_loss
            beyond = rate_beyond(tried) if 2 < len(tried) < len(ladder) + BEYOND else None
            left = () if beyond is None else (beyond,)
        self.state.tried[method] = {f"{rate:g}": loss for rate, loss in sorted(tried.items())}
        self.state.chosen[method] = best = best_rate(tried or dict.fromkeys(ladder))
        self.directory.write()
        return best

    def _run(self, cell: PlannedRun, closing: Closing | None) -> None:
        """One run, unless it is done."""
        path = self.directory.path / cell.path
        earlier = self.state.cells.get(cell.path)
        if earlier is not None and earlier.status in ("finished", "diverged") and is_done(earlier, path):
            return
        self.emit({"kind": "cell", "path": cell.path, "rounds": cell.config.rounds})
        accelerator = choose_accelerator(cell.config)
        config = with_counted_gpus(cell.config, accelerator)

        def work(run: RunDir) -> None:
            execute(config, run, accelerator, self.command, self.emit, self.should_stop, closing, self.reward)

        try:
            ending = run_cell(path, config, work)
            if ending.summary is not None:
                check_inputs(self.state, cell, read_ledger(RunDir(path).ledger).header, path)
        except (Interrupted, StorageError) as error:
            with suppress(StorageError):  # the first error is the one to report
                self._note(cell, Ending("interrupted"))
            if isinstance(error, StorageError):
                raise
            raise Interrupted(
                f"stopped in {cell.path}; continue with `zorba-ray compare … --dir {self.directory.path} --resume`"
            ) from error
        except ConfigError:  # every seed would fail in the same way, and the user must correct it
            raise
        except Exception as error:  # a defect of the program; the other runs go on
            ending = Ending("failed", traceback.format_exc())
            self.emit({"kind": "note", "text": f"{cell.path} failed: {type(error).__name__}: {error}"})
        else:
            if ending.error is not None:
                self.emit({"kind": "note", "text": f"{cell.path} {ending.status}: {ending.error}"})
        self._note(cell, ending)

    def _note(self, cell: PlannedRun, ending: Ending) -> None:
        """Writes to compare.json how a run ended."""
        self.state.cells[cell.path] = ComparisonCell(
            method=cell.method, seed=cell.seed, rate=cell.rate, tuning=cell.tuning, status=ending.status,
            error=ending.error, round=ending.rounds_done, rounds=cell.config.rounds,
            final_loss=_final_objective(ending),
        )  # fmt: skip
        self.directory.write()


def _final_objective(ending: Ending) -> float | None:
    """What rates are judged by: the validation loss, or the mean reward with its sign turned; None without an end."""
    if ending.summary is None:
        return None
    last = ending.summary.evaluations.get("final")
    return ending.summary.final_loss if last is None or last.reward is None else -last.reward


def check_inputs(state: Comparison, cell: PlannedRun, header: LedgerHeader, path: Path) -> None:
    """Checks that a run has the training examples and weights of earlier runs with the same seed and adapters.

    Raises:
        RunDirError: they differ, so that the runs cannot be compared.
    """
    inputs = {
        "data": (cell.seed, header.data_sha256),
        "weights": (header.manifest_sha256[:8], header.weights_sha256),
    }
    for what, (of, digest) in inputs.items():
        first_digest = state.inputs.setdefault(f"{what} of {of}", digest)
        if first_digest != digest:
            raise RunDirError(
                f"{path}: its {what} are not those of the earlier runs (SHA-256 {digest[:8]}…, before "
                f"{first_digest[:8]}…): restore those, remove this folder, and go on with --resume"
            )


def _size_of(config: ExperimentConfig) -> int:
    return sum(_manifest(config.model.model_dump_json()).sizes(config.zo.fixed_scope))


@functools.cache
def _manifest(model: str) -> Manifest:
    loaded = load_model(ModelConfig.model_validate_json(model))
    return model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
