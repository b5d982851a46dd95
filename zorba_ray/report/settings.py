"""Tables of settings and provenance, and the commands that repeat a run."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from zorba_ray.artifacts import Run
from zorba_ray.config.base import flatten
from zorba_ray.tables import Column, Table


def settings_table(caption: str, tree: Mapping[str, Any]) -> Table:
    """A table with dotted keys and JSON values of a tree of settings."""
    rows = [(key, _json(value)) for key, value in flatten(tree).items()]
    return Table.of_rows(caption, {"Setting": None, "Value": None}, rows)


def provenance_table(run: Run) -> Table:
    """The table of versions, commit and machine."""
    flat = {key: value for key, value in flatten(run.provenance.tree()).items() if key != "command"}
    rows = [(key, "none" if value is None else str(value)) for key, value in flat.items()]
    return Table.of_rows("Provenance", {"What": None, "Value": None}, rows)


def differences_table(runs: Sequence[Run], names: Sequence[str]) -> Table:
    """The table of settings that differ between the runs."""
    every = [{key: _json(value) for key, value in flatten(run.config.resolved()).items()} for run in runs]
    keys = sorted({key for tree in every for key in tree if key != "name"})
    columns = [Column[str]("Setting", lambda key: key)]
    columns += [
        Column[str](name, lambda key, tree=tree: tree.get(key)) for name, tree in zip(names, every, strict=True)
    ]
    return Table("Settings that differ", [k for k in keys if len({tree.get(k) for tree in every}) > 1], columns)


def typed_command(command: Sequence[str]) -> list[tuple[str, str]]:
    """The command line as it was typed, with its description; empty if it is not recorded."""
    return [("as it was typed", shlex.join(map(str, command)))] if command else []


def run_commands(run: Run) -> list[tuple[str, str]]:
    """(description, shell command) of the commands that repeat the run."""
    again = ["zorba-ray", "run", f"{run.path}/config.resolved.json", "--run-dir", f"{run.path}-again"]
    return [*typed_command(run.provenance.command), ("from the resolved settings", shlex.join(again))]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
