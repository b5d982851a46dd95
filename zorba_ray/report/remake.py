"""What is needed to run it again: settings, provenance, command."""

import json
import shlex
from typing import Any

from zorba_ray.artifacts import Run
from zorba_ray.report.page import Table


def settings(run: Run) -> dict[str, str]:
    """Dotted key -> value as JSON."""
    return _texts(run.config.resolved())


def settings_table(run: Run) -> Table:
    """All settings, defaults included."""
    return Table("Settings", ["Setting", "Value"], list(settings(run).items()))


def flat_table(caption: str, tree: dict[str, Any]) -> Table:
    """Dotted keys and JSON values of any tree of settings."""
    return Table(caption, ["Setting", "Value"], list(_texts(tree).items()))


def provenance_table(run: Run) -> Table:
    """Versions, commit and machine."""
    rows = [
        [key, str(value) if value is not None else "none"]
        for key, value in flatten(run.provenance.tree()).items()
        if key != "command"
    ]
    return Table("Provenance", ["What", "Value"], rows)


def commands(run: Run) -> list[tuple[str, str]]:
    """(what it is, shell line) that remake the run."""
    typed = run.provenance.command
    found = [("as it was typed", shlex.join(typed))] if typed else []
    again = ["zorba-ray", "run", f"{run.path}/config.resolved.json", "--run-dir", f"{run.path}-again"]
    return [*found, ("from the resolved settings", shlex.join(again))]


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    if isinstance(tree, dict) and tree:
        return {k: v for key, node in tree.items() for k, v in flatten(node, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): tree}


def _texts(tree: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value, ensure_ascii=False) for key, value in flatten(tree).items()} if tree else {}
