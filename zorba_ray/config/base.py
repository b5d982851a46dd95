"""Strict settings: unknown keys, wrong types and contradictions are errors that name the key, the value and the rule."""

import difflib
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from zorba_ray.errors import ConfigError
from zorba_ray.units import parse_bytes

ByteCount = Annotated[int, BeforeValidator(parse_bytes)]
"""Bytes; accepts an integer or text with a unit ("24 GiB")."""


class StrictModel(BaseModel):
    """Frozen settings that refuse unknown keys and non-finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def parse_override(text: str) -> tuple[list[str], Any]:
    """'zo.lr=1e-3' -> (['zo', 'lr'], '1e-3'); values are YAML, typed fields repair numbers that YAML 1.1 reads as text.

    Raises:
        ConfigError: no '=' or an empty key.
    """
    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(f"override {text!r}: write key=value with a dotted key, as in zo.lr=0.001")
    try:
        return parts, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r}: the value is not YAML ({error})") from error


def apply_override(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    """Sets tree[a][b] = value, creating sections on the way.

    Raises:
        ConfigError: a key on the way holds a value, not a section.
    """
    node = tree
    for depth, part in enumerate(parts[:-1]):
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {'.'.join(parts)}: {'.'.join(parts[: depth + 1])} is a value, not a section")
        node = child
    node[parts[-1]] = value


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a settings tree, sections included."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += known_keys(kind, f"{prefix}{name}.")
    return keys


def explain(error: ValidationError, model: type[BaseModel], origin: str) -> str:
    """One line per fault: key, value, rule, and for unknown keys the nearest known one."""
    lines = [f"{origin}: {error.error_count()} setting(s) refused"]
    names = known_keys(model)
    for fault in error.errors():
        location = [str(part) for part in fault["loc"] if not str(part).startswith(("function-", "tagged-", "list["))]
        key = ".".join(location) or "(top level)"
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.5) or [
                name for name in names if name.rsplit(".", 1)[-1] in difflib.get_close_matches(
                    location[-1], [n.rsplit(".", 1)[-1] for n in names], n=1, cutoff=0.6
                )
            ]
            hint = f"; did you mean {near[0]}?" if near else "; `zorba-ray schema` lists all settings"
            lines.append(f"  {key}: unknown setting (value {fault['input']!r}){hint}")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            value = "" if fault["type"] == "missing" or isinstance(fault["input"], dict) else f" = {fault['input']!r}"
            lines.append(f"  {key}{value}: {message}")
    return "\n".join(lines)
