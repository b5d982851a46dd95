"""Base of all settings, and their errors: each names the key, the value and the rule.

Unknown keys, wrong types and contradictions are refused.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from zorba_ray.config.suggestions import nearest_setting
from zorba_ray.config.yaml_text import MOST_DEPTH, parse_yaml
from zorba_ray.errors import ConfigError
from zorba_ray.printable import UNPRINTABLE, printable, shortened, shown
from zorba_ray.units import parse_bytes

ByteCount = Annotated[
    int,
    BeforeValidator(parse_bytes),
    Field(le=2**62),
    WithJsonSchema({"type": ["integer", "string"], "format": "bytes"}),
]
"""Bytes: an integer, or text with a unit ("24 GiB"). The bound keeps sums and differences within int64."""


def _within_64_bits(value: Any) -> Any:
    """Refuses integers that the libraries which compute with them cannot hold."""
    if isinstance(value, int) and not -(2**64) <= value <= 2**64:
        raise ValueError("an integer of at most 64 bits is expected")
    return value


def _path_text(value: str) -> str:
    if UNPRINTABLE.search(value) or any(sign in value for sign in "\n\t"):
        raise ValueError("a path or hub id must not have control characters")
    if any(len(part.encode("utf-8")) > 255 for part in value.split("/")):
        raise ValueError("each part of a path has at most 255 bytes")
    return value


PathText = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_path_text)]
"""Text that names a file, a folder or a repository of the hub, and that every file system accepts."""

Settings = TypeVar("Settings", bound=BaseModel)


class StrictModel(BaseModel):
    """Frozen settings. They refuse unknown keys, numbers that are not finite, and true or false for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as the number 1, and YAML 1.1 reads yes, no, on and off as truth values.
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("true and false are neither numbers nor text here")
        return _within_64_bits(value)

    @classmethod
    def open_sections(cls) -> dict[str, list[type["StrictModel"]]]:
        """Section whose settings depend on another setting -> all classes that the section can have."""
        return {}

    @field_validator("*", mode="after")
    @classmethod
    def _no_endless_integer(cls, value: Any) -> Any:
        return _within_64_bits(value)  # again, after conversion: pydantic reads text of 4,300 digits as an integer


def parse_override(text: str) -> tuple[list[str], Any]:
    """'zo.lr=1e-3' -> (['zo', 'lr'], '1e-3').

    The value is YAML. YAML 1.1 reads 1e-3 as text; a field of type float converts it.

    Raises:
        ConfigError: no '=', an empty key, or a value that is not YAML for settings.
    """
    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts) or len(parts) > MOST_DEPTH:
        raise ConfigError(f"override {shown(text)}: write key=value with a dotted key, as in zo.lr=0.001")
    try:
        return parts, parse_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"override {shown(text)}: the value is not YAML for settings ({error}); put text with braces or colons "
            "in quotes, as in data.prompt='\"{text} It was\"'"
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


def flatten(tree: Mapping[str, Any], unflattened: frozenset[str] = frozenset(), prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of a tree. Lists, empty sections and the keys in `unflattened` stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value and name not in unflattened
        flat |= flatten(value, unflattened, f"{name}.") if nested else {name: value}
    return flat


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a settings tree, with its sections. Positions in lists are left out."""
    keys = []
    chosen = model.open_sections() if issubclass(model, StrictModel) else {}
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for kind in chosen.get(name) or _sections(field.annotation):
            keys += known_keys(kind, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings classes inside an annotation, through unions, tuples and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


LISTED = 20
"""Most faults that one message lists."""


def explain(error: ValidationError, model: type[BaseModel], origin: str) -> str:
    """One line per fault, up to LISTED: key, value, rule; for an unknown key also the nearest known one."""
    # A default that follows from other settings is missing if those are refused. This is not reported as a fault.
    faults = [
        fault
        for fault in error.errors(include_url=False, include_context=False)
        if fault["type"] != "default_factory_not_called"
    ]
    lines = [f"{printable(shortened(origin, 200))}: {len(faults):,} setting(s) refused"]
    names = known_keys(model)
    for fault in faults[:LISTED]:
        location = [str(part) for part in fault["loc"] if not str(part).startswith(("function-", "tagged-", "list["))]
        key = printable(shortened(".".join(location), 200)) or "(top level)"
        if fault["type"] == "extra_forbidden":
            dotted = ".".join(part for part in location if not part.isdigit())
            near = nearest_setting(dotted, names)
            hint = f"; did you mean {near}?" if near else "; `zorba-ray schema` lists all settings"
            if dotted in names:
                hint = "; it belongs to another value of `method`"
            lines.append(f"  {key}: unknown setting (value {shown(fault['input'])}){hint}")
        else:
            message = shortened(fault["msg"].removeprefix("Value error, "), 1_000)
            value = (
                "" if fault["type"] == "missing" or isinstance(fault["input"], dict) else f" = {shown(fault['input'])}"
            )
            if fault["type"] in ("model_type", "model_attributes_type"):
                message = f"this is a section; write {key}: {{SETTING: VALUE}}"
                message += f", as in {key}: {{path: {fault['input']}}}" if f"{key}.path" in names else ""
            if fault["type"] == "string_type" and isinstance(fault["input"], dict):
                message += f", not {shown(fault['input'])}: put text with braces in quotes"
                message += ", on the command line as in '\"{text}\"'"
            if isinstance(fault["input"], bool):
                message += "; YAML reads yes and on as true, no and off as false: put text in quotes"
            lines.append(f"  {key}{value}: {message}")
    if len(faults) > LISTED:
        lines.append(f"  ... and {len(faults) - LISTED:,} more")
    return "\n".join(lines)


def validated(model: type[Settings], tree: Any, origin: str) -> Settings:
    """`tree` as checked settings.

    Args:
        origin: where the settings are from, for messages.

    Raises:
        ConfigError: lists all faults, each with key, value and rule.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, model, origin)) from error
    except (ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # A check failed on input that it was not written for.
        raise ConfigError(
            f"{printable(shortened(origin, 200))}: the settings cannot be checked ({type(error).__name__}: {error}). "
            "This is also a defect of zorba-ray, which should name the setting: please report it"
        ) from error
