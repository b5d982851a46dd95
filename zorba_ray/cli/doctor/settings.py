"""The run or sweep that is to run: its settings, and the files that it names."""

import os
from dataclasses import dataclass
from pathlib import Path

from zorba_ray.cli.doctor.finding import Finding
from zorba_ray.config import ExperimentConfig, config_from_tree, load_sweep, presets
from zorba_ray.config.experiment import load_tree
from zorba_ray.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """What is to run."""

    config: ExperimentConfig
    files: tuple[Path, ...]
    """The run file, and the sweep file that names it; none for a preset."""


def read(source: str) -> tuple[Plan | None, list[Finding]]:
    """The plan of a run file, sweep file or preset; no plan where the settings are refused."""
    files = [] if source in presets() else [Path(source)]
    try:
        tree = load_tree(source)
        if "space" in tree:  # a sweep file: names a run, and alters settings of it
            sweep, tree = load_sweep(source)
            beside = Path(source).parent / sweep.run
            files += [beside] if os.path.isfile(beside) else []
        plan = Plan(config_from_tree(tree, source), tuple(files))
    except ConfigError as error:
        return None, [
            Finding("fault", str(error), "correct the settings; `zorba-ray schema` lists all", error.exit_code)
        ]
    return plan, [Finding("ok", f"{source}: settings are valid")]
