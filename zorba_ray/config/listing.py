"""The list of all settings of a run (key, values, default, meaning), made from the JSON schema of their types."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from zorba_ray.config.experiment import ExperimentConfig
from zorba_ray.config.method import load_method, method_names
from zorba_ray.config.suggestions import nearest_setting
from zorba_ray.errors import ConfigError
from zorba_ray.printable import shown

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_KINDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true | false",
    "null": "null",
    "object": "section",
    "array": "list",
}
_BEYOND = 2.0**62
"""Bounds of this size or more only keep numbers within 64 bits, and are not listed."""


class Setting(NamedTuple):
    """One setting."""

    key: str
    """With dots; `[]` stands for an entry of a list, as in federation.fleet[].count."""
    values: str
    """Allowed values, in words."""
    default: str
    """The default as YAML; in words if there is none."""
    meaning: str
    """One line of text."""


def listed_settings(part: str | None = None) -> list[Setting]:
    """The settings in the order of the file, nested ones after their section.

    Args:
        part: a key, a section, or a part of a key; None: all settings.

    Raises:
        ConfigError: no key has this part; the message names the nearest key.
    """
    every = list(_of_run())
    if part is None:
        return every
    exact = [entry for entry in every if entry.key == part or entry.key.startswith((f"{part}.", f"{part}[]"))]
    settings = exact or [entry for entry in every if part.lower() in entry.key]
    if not settings:
        near = nearest_setting(part, [entry.key for entry in every])
        hint = f"did you mean {near}?" if near else "`zorba-ray schema` lists all settings"
        raise ConfigError(f"schema {shown(part)}: no setting has this text in its name; {hint}")
    return settings


def _of_run() -> Iterator[Setting]:
    schema = ExperimentConfig.model_json_schema()
    properties = dict(schema["properties"])
    of_methods = properties.pop("method_settings")
    for entry in _walk({**schema, "properties": properties}, schema["$defs"], ""):
        yield entry
        if entry.key == "method":
            yield Setting("method_settings", "section", "by method", _meaning(of_methods))
            for name in method_names():
                method_schema = load_method(name).Settings.model_json_schema()
                for setting in _walk(method_schema, method_schema.get("$defs", {}), "method_settings."):
                    yield setting._replace(meaning=f"Of method={name}. {setting.meaning}")


def _walk(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[Setting]:
    for name, entry in schema.get("properties", {}).items():
        forms = list(_forms(entry, definitions))
        plain_section = "properties" in forms[0] and len(forms) == 1
        if not plain_section:
            default = "required" if name in schema.get("required", ()) else "by other settings"
            default = _as_yaml(entry["default"]) if "default" in entry else default
            values = " | ".join(dict.fromkeys(_values(form, definitions) for form in forms))
            yield Setting(prefix + name, values, default, _meaning(entry))
        for form in forms:
            yield from _walk(form, definitions, f"{prefix}{name}.")
            yield from _walk(_resolved(form.get("items", {}), definitions), definitions, f"{prefix}{name}[].")


def _values(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("format") == "bytes":
        return 'bytes > 0, or text such as "24 GiB"'
    if schema.get("type") == "array" and (items := _resolved(schema.get("items", {}), definitions)):
        return "list of sections" if "properties" in items else f"list of {_values(items, definitions)}"
    bounds = [
        f"{sign} {schema[key]:,}" for key, sign in _BOUNDS.items() if key in schema and abs(schema[key]) < _BEYOND
    ]
    return " ".join([_KINDS.get(schema.get("type", ""), "any value"), *bounds])


def _forms(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The alternatives of a union, also of unions in it."""
    schema = _resolved(schema, definitions)
    for alternatives in (schema.get("anyOf"), schema.get("oneOf")):
        for form in alternatives or ():
            yield from _forms(form, definitions)
    if "anyOf" not in schema and "oneOf" not in schema:
        yield schema


def _meaning(schema: dict[str, Any]) -> str:
    """The description on one line, with `null` for `None`."""
    return re.sub(r"\bNone\b", "null", " ".join(schema.get("description", "").split()))


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return definitions[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000).removesuffix("...\n").strip()
    return '""' if value == "" else text
