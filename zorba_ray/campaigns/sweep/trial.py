"""A trial for Ray Tune: an ordinary run in its run directory that waits at every evaluation until Tune continues it.

The run is in a thread of the trial's process. It passes on each evaluation and waits for the next `step`, so that a
scheduler decides before the next round. A trial that is stopped early ends as after Ctrl-C: its run directory can be
resumed. Tune makes no checkpoints; the ledger is the checkpoint.
"""

import gc
import logging
import os
import platform
import queue
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from zorba_ray.artifacts import Eval, RunDir, records_of
from zorba_ray.artifacts.campaigns import Trial
from zorba_ray.campaigns.cell import run_cell
from zorba_ray.campaigns.sweep.plan import TrialPlan
from zorba_ray.campaigns.sweep.resources import TrialNeeds
from zorba_ray.campaigns.sweep.state import figures_of_run
from zorba_ray.campaigns.sweep.watch import stop_file
from zorba_ray.config import config_from_tree
from zorba_ray.errors import Interrupted, ZorbaError
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.run import Closing
from zorba_ray.federation.accelerator import with_counted_gpus
from zorba_ray.tasks.reward_code import RewardCode


def trial_payload(plan: TrialPlan, trial: Trial, needs: TrialNeeds, sweep: Path, command: list[str]) -> dict[str, Any]:
    """The `config` of a Tune trial: plain values only, as Tune writes them to params.json."""
    return {
        "trial": plan.number,
        "values": plan.values,
        "settings": with_counted_gpus(plan.config, needs.accelerator).resolved(),
        "accelerator": needs.accelerator,
        "bundles": list(needs.bundles),
        "sweep": str(sweep),
        "run": str(sweep / trial.run),
        "log": str(sweep / trial.log),
        "command": command,
    }


class FederationTrial(tune.Trainable):
    """One process that runs trials one after another."""

    def setup(
        self, config: dict[str, Any], closing: Closing | None = None, rewards: Mapping[str, RewardCode] | None = None
    ) -> None:
        self._closing, self._rewards = closing, rewards or {}
        self._session = _Session(config, closing, self._rewards)

    def step(self) -> dict[str, Any]:
        return self._session.next_report()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._session.stop()  # waits for its end, because two runs must never share a process
        self._session = _Session(new_config, self._closing, self._rewards)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Does nothing: the ledger is the checkpoint. Tune calls this once at the end in any case."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Does nothing: a trial that is started again goes on from its ledger."""

    def cleanup(self) -> None:
        self._session.stop()

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory(config["bundles"], strategy="PACK")


class _Session:
    """The run of one trial, in a thread."""

    def __init__(self, payload: dict[str, Any], closing: Closing | None, rewards: Mapping[str, RewardCode]) -> None:
        self._payload = payload
        self._closing, self._rewards = closing, rewards
        self._reports: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()
        self._go = threading.Semaphore(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"trial-{payload['trial']}", daemon=True)
        self._thread.start()

    def next_report(self) -> dict[str, Any]:
        """The run's next evaluation, or its end (`done`).

        Raises:
            Exception: an error that is not a `ZorbaError`; Tune then tries the trial again.
        """
        self._go.release()
        report = self._reports.get()
        if isinstance(report, BaseException):
            raise report
        return report

    def stop(self) -> None:
        """Ends the run after its present round; it can be resumed."""
        self._stop.set()
        self._go.release()
        self._thread.join()

    def _work(self) -> None:
        self._go.acquire()
        if self._stop.is_set():
            return
        log = Path(self._payload["log"])
        handler = logging.FileHandler(log, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("zorba_ray")
        logger.addHandler(handler)
        self._note(f"process {os.getpid()} on {platform.node()}")
        try:
            self._reports.put(self._run())
        except Interrupted:
            self._reports.put({"done": True, "ended": "interrupted"})
        except ZorbaError as error:
            self._reports.put({"done": True, "ended": "failed", "error": f"{type(error).__name__}: {error}"})
            self._note(traceback.format_exc())
        except BaseException as error:
            self._reports.put(error)
            self._note(traceback.format_exc())
        finally:
            logger.removeHandler(handler)
            handler.close()
            # A model has reference cycles: without this its weights would still be in memory in the next trial.
            gc.collect()

    def _run(self) -> dict[str, Any]:
        config = config_from_tree(self._payload["settings"], f"trial {self._payload['trial']}")

        def work(run: RunDir) -> None:
            self._repeat(run)
            if self._ending():
                raise Interrupted("asked to stop before the first round of this session")
            run_experiment(
                config, run, self._payload["accelerator"], self._payload["command"], self._hear,
                self._ending, self._closing, reward=self._rewards.get(config.task.reward or ""),
            )  # fmt: skip

        path = Path(self._payload["run"])
        ending = run_cell(path, config, work)
        if ending.status != "finished":
            self._note(ending.trace)
            return {"done": True, "ended": ending.status, "error": ending.error, "round": ending.rounds_done or 0}
        figures, digest = figures_of_run(path)
        return {"done": True, "ended": "finished", "round": ending.rounds_done, "weights_sha256": digest, **figures}

    def _ending(self) -> bool:
        """Whether this trial is stopped early, or the whole sweep must stop."""
        return self._stop.is_set() or stop_file(Path(self._payload["sweep"])).exists()

    def _repeat(self, run: RunDir) -> None:
        """A resumed run reports its earlier evaluations again, because the scheduler is new."""
        for record in records_of(run.metrics, Eval):
            self._hear(record.tree())

    def _hear(self, event: dict[str, Any]) -> None:
        """The `Emit` of the run: evaluations go to Tune; everything except rounds goes to the trial's log."""
        if event["kind"] in ("status", "note"):
            self._note(event["text"])
        elif event["kind"] == "eval":
            self._note(f"round {event['round']} {event['split']}: loss {event['loss']}, accuracy {event['accuracy']}")
        if event["kind"] != "eval" or event["split"] != "validation" or self._stop.is_set():
            return
        figures = {f"validation_{name}": event[name] for name in Eval.FIGURES}
        self._reports.put({"round": event["round"], **figures})
        self._go.acquire()

    def _note(self, text: str) -> None:
        """Writes a line to the trial's log. If the log cannot be written, the trial goes on."""
        try:
            with Path(self._payload["log"]).open("a", encoding="utf-8") as file:
                file.write(text.rstrip("\n") + "\n")
        except OSError as error:
            logging.getLogger(__name__).debug("trial log: %s", error)
