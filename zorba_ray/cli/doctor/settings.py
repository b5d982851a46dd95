"""The run or sweep that is to run: its settings, and the files that it names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zorba_ray.cli.doctor.finding import Finding
from zorba_ray.config import ExperimentConfig, load_config, presets
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
    run, overrides = source, []
    try:
        tree = _mapping(source) if files else {}
        if "space" in tree:  # a sweep file: names a run, and alters settings of it
            run = str(tree.get("run", "demo"))
            overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in _set(tree).items()]
            if run not in presets():
                run = str(Path(source).parent / run)
                files.append(Path(run))
        plan = Plan(load_config(run, overrides), tuple(files))
    except ConfigError as error:
        return None, [Finding("fault", str(error), "correct the settings; `zorba-ray schema` lists all")]
    return plan, [Finding("ok", f"{source}: settings are valid")]


def _mapping(source: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}  # load_config says what is wrong
    return tree if isinstance(tree, dict) else {}


def _set(tree: dict[str, Any]) -> dict[str, Any]:
    values = tree.get("set") or {}
    return values if isinstance(values, dict) else {}
