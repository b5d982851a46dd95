"""`--allow-code`: the modules of the user that a command may run."""

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
    None, "--allow-code", metavar="MODULE", help="Allow this module of your own, which task.reward names, to run."
)


def allowed_reward(settings: "ExperimentConfig", source: str, modules: Collection[str] | None) -> "RewardCode | None":
    """The code of a run's reward; None if its task is not a reward.

    Args:
        source: the run file, or a preset.
        modules: the modules that --allow-code names.

    Raises:
        ConfigError: no such module, or it is not allowed; the message has the command to type.
    """
    named = [settings.task.reward] if settings.task.reward else []
    return next(iter(allowed_rewards(named, source, modules).values()), None)


def allowed_rewards(names: Iterable[str], source: str, modules: Collection[str] | None) -> "dict[str, RewardCode]":
    """Name of each reward -> its code; see `allowed_reward`."""
    from zorba_ray.tasks.reward_code import read_reward

    again = shlex.join(["zorba-ray", *sys.argv[1:]])
    return {name: read_reward(name, modules or (), Path(source).parent, again) for name in names}
