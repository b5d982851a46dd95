"""A preset, a file or a dictionary -> the settings of a run."""

import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

from zorba_ray.config.base import apply_override, parse_override, validated
from zorba_ray.config.experiment import ExperimentConfig
from zorba_ray.config.suggestions import meant
from zorba_ray.config.yaml_text import read_yaml
from zorba_ray.errors import ConfigError
from zorba_ray.printable import shown


def presets() -> list[str]:
    """Names of the configurations shipped inside the package."""
    folder = resources.files("zorba_ray") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def config_from_tree(tree: dict[str, Any], origin: str) -> ExperimentConfig:
    """Validates a plain dictionary.

    Raises:
        ConfigError: any fault, each with key, value and rule.
    """
    return validated(ExperimentConfig, tree, origin)


def load_config(source: str, overrides: list[str] | None = None) -> ExperimentConfig:
    """Settings from a preset's name or a YAML/JSON file, with dotted overrides on top.

    A file without a `name` is called as the file is: my_run.yaml is my_run.

    Raises:
        ConfigError: no such preset or file, not a mapping, a sweep file, or any refused setting.
    """
    tree = load_tree(source)
    if "space" in tree:
        raise ConfigError(f"config {shown(source)}: this is a sweep file: start it with `zorba-ray sweep {source}`")
    if stem := re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(source).stem).lstrip("_.-")[:200]:
        tree.setdefault("name", stem)
    for text in overrides or []:
        parts, value = parse_override(text)
        apply_override(tree, parts, value)
    return config_from_tree(tree, source)


def load_tree(source: str) -> dict[str, Any]:
    """The settings that a preset or file names, not validated yet.

    Raises:
        ConfigError: no such preset or file, or not a mapping.
    """
    if source in presets():
        return read_yaml(resources.files("zorba_ray") / "presets" / f"{source}.yaml", "config")
    if not os.path.isfile(source):  # unlike Path's, it has an answer to any text
        raise ConfigError(
            f"config {shown(source)}: no such file, and not a preset ({', '.join(presets())}){meant_file(source)}"
        )
    return read_yaml(Path(source), "config")


def meant_file(source: str) -> str:
    """'; did you mean NAME?' of a preset, or of a YAML file in the same folder; nothing where none is near."""
    folder = Path(source).parent
    try:
        beside = [str(file) for kind in ("*.yaml", "*.yml") for file in folder.glob(kind)]
    except (OSError, ValueError):  # no folder at all
        beside = []
    same = [file for file in beside if Path(file).stem == source]
    return f"; did you mean {same[0]}?" if same else meant(source, [*presets(), *beside])


def anchored(config: ExperimentConfig) -> ExperimentConfig:
    """Paths of model, adapter, data and secret made absolute where they name something: a Ray worker has another
    folder."""

    def section(settings: Any) -> Any:
        path = Path(settings.path)
        there = settings.path != "builtin" and not path.is_absolute() and os.path.exists(path)
        return settings.model_copy(update={"path": str(path.resolve())}) if there else settings

    model, lora = section(config.model), config.model.lora
    if lora is not None and lora.path is not None:
        model = model.model_copy(update={"lora": section(lora)})
    privacy = config.privacy
    if privacy is not None and privacy.secret_file is not None:
        privacy = privacy.model_copy(update={"secret_file": str(Path(privacy.secret_file).expanduser().resolve())})
    return config.model_copy(update={"model": model, "data": section(config.data), "privacy": privacy})
