"""Strict settings: unknown keys, wrong types and contradictions are errors that name key, value and rule."""

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from zorba_ray.errors import ConfigError
from zorba_ray.units import parse_bytes

ByteCount = Annotated[int, BeforeValidator(parse_bytes), Field(le=2**62)]
"""Bytes; accepts an integer or text with a unit ("24 GiB"). Sums and differences with int64 must not wrap."""


class StrictModel(BaseModel):
    """Frozen settings that refuse unknown keys, non-finite numbers and truth values in the place of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as the number 1, and YAML 1.1 reads yes, no, on and off as truth values.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("a truth value is neither a number nor text")
        return value


class _UniqueKeys(yaml.SafeLoader):
    """A mapping that names a key twice is an error; plain YAML keeps the last and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, (str, int, float)) else id(key_node))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: not YAML, or a key stands twice.
    """
    return yaml.load(text, _UniqueKeys)


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
        raise ConfigError(
            f"override {text!r}: the value is not YAML ({error}); text with braces or colons stands in quotes, as in "
            "data.prompt='\"{text} It was\"'"
        ) from error


def apply_override(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    """Sets tree[a][b] = value, creating sections on the way.

    Raises:
        ConfigError: a key on the way holds a value, not a section.
    """
    node = tree
    for depth, part in enumerate(parts[:-1]):
        child = node.setdefault(part, {})
        if child is None:  # a section whose keys are all left out
            child = node[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"override {'.'.join(parts)}: {'.'.join(parts[: depth + 1])} is a value, not a section")
        node = child
    node[parts[-1]] = value


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a settings tree, sections included; places in lists are left out."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for kind in _sections(field.annotation):
            keys += known_keys(kind, f"{prefix}{name}.")
    return keys


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings classes inside an annotation, through unions, tuples and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def explain(error: ValidationError, model: type[BaseModel], origin: str) -> str:
    """One line per fault: key, value, rule, and for unknown keys the nearest known one."""
    lines = [f"{origin}: {error.error_count()} setting(s) refused"]
    names = known_keys(model)
    for fault in error.errors():
        location = [str(part) for part in fault["loc"] if not str(part).startswith(("function-", "tagged-", "list["))]
        key = ".".join(location) or "(top level)"
        if fault["type"] == "extra_forbidden":
            dotted = ".".join(part for part in location if not part.isdigit())
            near = difflib.get_close_matches(dotted, names, n=1, cutoff=0.5) or [
                name
                for name in names
                if name.rsplit(".", 1)[-1]
                in difflib.get_close_matches(location[-1], [n.rsplit(".", 1)[-1] for n in names], n=1, cutoff=0.6)
            ]
            hint = f"; did you mean {near[0]}?" if near else "; `zorba-ray schema` lists all settings"
            lines.append(f"  {key}: unknown setting (value {fault['input']!r}){hint}")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            value = "" if fault["type"] == "missing" or isinstance(fault["input"], dict) else f" = {fault['input']!r}"
            if fault["type"] == "string_type" and isinstance(fault["input"], dict):
                message += f", not {fault['input']!r}: put text with braces in quotes"
            if isinstance(fault["input"], bool):
                message += "; YAML reads yes, no, on and off as truth values: put text in quotes"
            lines.append(f"  {key}{value}: {message}")
    return "\n".join(lines)
