"""A model that is to be asked: that of a run after a round, of a folder that a run exported, or any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig, ModelConfig
from zorba_ray.errors import ConfigError, LedgerError, ModelError
from zorba_ray.experiment.build import build_host
from zorba_ray.experiment.client_memory import shared_tokens
from zorba_ray.experiment.replay import recorded_run
from zorba_ray.experiment.task_model import compute_device, host_store, set_threads, start_model, task_model
from zorba_ray.federation.accelerator import choose_accelerator
from zorba_ray.models import TaskModel
from zorba_ray.models.peft_folder import adapter_settings, is_adapter
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.tasks.reward import Reward
from zorba_ray.tasks.reward_code import RewardCode


@dataclass(frozen=True)
class Trained:
    """A model with its task, at θ that is asked for."""

    config: ExperimentConfig
    """Task, prompt and data."""
    model: TaskModel
    round: int = 0
    """Of the run; 0 of a model that is no run's."""
    run: RunDir | None = None
    header: LedgerHeader | None = None
    """Of the run's ledger."""
    remarks: Sequence[str] = ()
    """What is to be known about the model, as sentences."""

    @property
    def shared(self) -> int:
        """First tokens of all rows that the run computes once per batch."""
        return 0 if self.header is None else shared_tokens(self.header.sections)


def task_settings(
    source: str, round: int | None, settings: ExperimentConfig | None, base: str | None
) -> ExperimentConfig:
    """The settings by which the model that `source` names is asked; arguments as of `trained`. No model is loaded.

    Raises:
        ConfigError: something is said of a run that belongs to a model, or the other way round.
        RunDirError, LedgerError: as `recorded_run`.
    """
    run = RunDir(Path(source).expanduser())
    if run.config.exists():
        if settings is not None:
            raise ConfigError(f"--config: {source} is a run and has its own settings; leave --config out")
        return recorded_run(run.path, round).config
    for option, value in (("--round", round), ("--model", base)):
        if value is not None:
            raise ConfigError(f"{option}={value}: {source} is no run directory; leave {option} out")
    if settings is None:
        raise ConfigError(
            f"{source} is no run directory. For a model name a run file too, as in --config my.yaml: its task, "
            "data.prompt and data.label_words say what the model is asked"
        )
    return settings


def trained(
    source: str,
    round: int | None,
    settings: ExperimentConfig | None,
    base: str | None,
    reward: RewardCode | None = None,
) -> Trained:
    """The model that `source` names: a run directory, a folder of a model or of adapters, a `.gguf` file, a package, or
    a name on the hub.

    Args:
        round: of a run; None: the one that is kept.
        settings: task and prompt of what is no run.
        base: where a run's base model is now; None: at its model.path.
        reward: what the answers are judged by; None: by nothing but the loss.

    Raises:
        ConfigError, RunDirError, LedgerError, ModelError: as `task_settings`, `recorded_run` and `load_model`.
        LedgerError: the reward is of other code than the run's was.
    """
    asked = task_settings(source, round, settings, base)
    judge = None if reward is None else Reward(reward)
    if settings is not None:
        return _of_model(source, asked, judge)
    found = _of_run(Path(source).expanduser(), round, base, judge)
    began = found.header.sections.get("reward") if found.header is not None else None
    if reward is not None and began is not None and began.content != reward.digest:
        raise LedgerError(
            f"task.reward={reward.name}: {reward.file} is not the code that the run had; put it back as it was"
        )
    return found


def _of_run(path: Path, round: int | None, base: str | None, judge: Reward | None) -> Trained:
    recorded = recorded_run(path, round)
    config = _asking(recorded.config)
    if base is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"path": base})})
    header = recorded.contents.header
    model = _task_model(config, judge)
    state = build_host(config, header, model).state
    recorded.rebuild(state)
    recorded.confirm(state.round, model.replica.digest())
    remarks = () if recorded.remark is None else (recorded.remark,)
    return Trained(config, model, state.round, recorded.run, header, remarks)


def _of_model(source: str, settings: ExperimentConfig, judge: Reward | None) -> Trained:
    """Label prompts are read by the model at the start, which is that of the settings."""
    start, model = settings.model, _named(source, settings.model)
    zo = settings.zo.model_copy(update={"scope": "all", "rank": None})
    config = _asking(settings.model_copy(update={"model": model, "zo": zo}))
    built = _task_model(config, judge)
    if model == start or built.loaded.causal:
        return Trained(config, built)
    if model.lora is None and start.lora is not None and start.lora.path is not None:
        raise ModelError(
            f"{source}: label prompts are read with the adapters of model.lora.path, which are merged into this "
            "model; name the run directory instead"
        )
    origin = start if model.lora is not None else start.model_copy(update={"lora": None})
    asked = _task_model(config.model_copy(update={"model": origin}), judge)
    ours, theirs = asked.replica, built.replica
    if ours.manifest.digest != theirs.manifest.digest:
        raise ModelError(
            f"{source} is a model of another shape than model.path={start.path}, by which label prompts are read; for "
            f"a model that was not trained from it set model.path={source}"
        )
    for name, tensor in theirs.parameters.items():
        ours.parameters[name].copy_(tensor)
    remark = f"label prompts are read by model.path={start.path}, as before training"
    return Trained(config, asked, remarks=(remark,))


def _named(source: str, start: ModelConfig) -> ModelConfig:
    """The settings of the model that `source` names, where `start` is that of the run file."""
    path = Path(source).expanduser()
    if source == start.path or (path.exists() and str(path.resolve()) == start.path):
        return start
    if not is_adapter(path):
        # Adapters of an export are merged; a revision is of the other name.
        place = str(path.resolve()) if path.exists() else source
        return start.model_copy(update={"path": place, "revision": None, "lora": None})
    settings = adapter_settings(path, "adapter", source)
    if start.lora is None:
        rank, alpha = settings.get("r"), settings.get("lora_alpha")
        raise ConfigError(
            f"{source} is a folder of adapters: the run file must say how its base model takes them; set "
            f"model.lora.rank={rank} model.lora.alpha={alpha} and model.lora.targets"
        )
    return start.model_copy(update={"lora": start.lora.model_copy(update={"path": str(path.resolve())})})


def _asking(config: ExperimentConfig) -> ExperimentConfig:
    """On whatever machine this is: GPUs and kernels are those that are there."""
    changes: dict[str, Any] = {"directions": config.directions.model_copy(update={"backend": "auto"})}
    if config.federation.gpus != "simulated":
        changes["federation"] = config.federation.model_copy(update={"gpus": "auto"})
    return config.model_copy(update=changes)


def _task_model(config: ExperimentConfig, judge: Reward | None) -> TaskModel:
    """At θ0, where and how the run itself evaluates: on a GPU only where all clients are in one process with it."""
    set_threads(config)
    sequential = config.federation.backend == "sequential"
    device = compute_device(choose_accelerator(config)) if sequential else "cpu"
    store = host_store(config, device) if sequential else None
    return task_model(start_model(config), config, device, store=store, reward=judge)
