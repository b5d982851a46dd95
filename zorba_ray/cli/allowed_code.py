"""`--allow-code`: which code that is not of zorba-ray a command may run."""

import shlex
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.tasks.reward_code import RewardCode

ALLOW_CODE: list[str] = typer.Option(
    None, "--allow-code", metavar="MODULE", help="Run this module, which task.reward names; code of yours needs it."
)


def allowed_reward(settings: "ExperimentConfig", source: str, modules: Collection[str] | None) -> "RewardCode | None":
    """The code of a run's reward; None where its task is none.

    Args:
        source: the run file, or a preset.
        modules: those of --allow-code.

    Raises:
        ConfigError: there is no such module, or it is not allowed; says what to type.
    """
    named = [settings.task.reward] if settings.task.reward else []
    return next(iter(allowed_rewards(named, source, modules).values()), None)


def allowed_rewards(names: Iterable[str], source: str, modules: Collection[str] | None) -> "dict[str, RewardCode]":
    """The code of each reward, by its name; as `allowed_reward`."""
    from zorba_ray.tasks.reward_code import read_reward

    again = shlex.join(["zorba-ray", *sys.argv[1:]])
    return {name: read_reward(name, modules or (), Path(source).parent, again) for name in names}
