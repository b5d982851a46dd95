"""Strict settings: unknown keys, wrong types and contradictions are errors that name key, value and rule."""

from collections.abc import Iterator
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
"""Bytes; accepts an integer or text with a unit ("24 GiB"). Sums and differences with int64 must not wrap."""


def _within_64_bits(value: Any) -> Any:
    """Python's integers have no end; what computes with them has."""
    if isinstance(value, int) and not -(2**64) <= value <= 2**64:
        raise ValueError("beyond 64 bits")
    return value


def _path_text(value: str) -> str:
    if UNPRINTABLE.search(value) or any(sign in value for sign in "\n\t"):
        raise ValueError("a path or name on the hub has no control characters")
    if any(len(part.encode("utf-8")) > 255 for part in value.split("/")):
        raise ValueError("a path has no part of more than 255 bytes")
    return value


PathText = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_path_text)]
"""Text that names a file or folder, or something on the hub: what any file system can be asked for."""

Settings = TypeVar("Settings", bound=BaseModel)


class StrictModel(BaseModel):
    """Frozen settings that refuse unknown keys, non-finite numbers and truth values in the place of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as the number 1, and YAML 1.1 reads yes, no, on and off as truth values.
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("true and false are neither numbers nor text")
        return _within_64_bits(value)

    @classmethod
    def open_sections(cls) -> dict[str, list[type["StrictModel"]]]:
        """Sections whose settings depend on a value -> all classes that they can be of."""
        return {}

    @field_validator("*", mode="after")
    @classmethod
    def _no_endless_integer(cls, value: Any) -> Any:
        return _within_64_bits(value)  # once more: pydantic reads text of 4,300 digits as an integer


def parse_override(text: str) -> tuple[list[str], Any]:
    """'zo.lr=1e-3' -> (['zo', 'lr'], '1e-3'); values are YAML, typed fields repair numbers that YAML 1.1 reads as text.

    Raises:
        ConfigError: no '=', an empty key, or no value that settings can have.
    """
    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts) or len(parts) > MOST_DEPTH:
        raise ConfigError(f"override {shown(text)}: write key=value with a dotted key, as in zo.lr=0.001")
    try:
        return parts, parse_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"override {shown(text)}: the value is not YAML for settings ({error}); text with braces or colons stands "
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


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a settings tree, sections included; places in lists are left out."""
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
"""Faults that are told one by one."""


def explain(error: ValidationError, model: type[BaseModel], origin: str) -> str:
    """One line per fault, up to LISTED: key, value, rule, and for unknown keys the nearest known one."""
    # A default that follows from other settings is none where those are refused: no fault of its own.
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
                hint = "; another value of `method` has it, this one has not"
            lines.append(f"  {key}: unknown setting (value {shown(fault['input'])}){hint}")
        else:
            message = shortened(fault["msg"].removeprefix("Value error, "), 1_000)
            value = (
                "" if fault["type"] == "missing" or isinstance(fault["input"], dict) else f" = {shown(fault['input'])}"
            )
            if fault["type"] in ("model_type", "model_attributes_type"):
                message = f"a section with settings of its own; write {key}: {{SETTING: VALUE}}"
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
    """`tree` as settings.

    Args:
        origin: where it is from, for messages.

    Raises:
        ConfigError: any fault, each with key, value and rule.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, model, origin)) from error
    except (ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # A check stumbled over input that it was not written for: refused like any other, and said to be our fault too.
        raise ConfigError(
            f"{printable(shortened(origin, 200))}: the settings cannot be checked ({type(error).__name__}: {error}). "
            "This message should name one of them: please report it as a defect of zorba-ray"
        ) from error
