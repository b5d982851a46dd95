"""`zorba-ray doctor`: checks before a run, each with a remedy for what it finds wrong."""

from typing import Literal, NamedTuple

Level = Literal["ok", "note", "fault"]


class Finding(NamedTuple):
    """One line of the doctor's answer. A fault always has a remedy."""

    level: Level
    what: str
    remedy: str = ""
    exit_code: int = 4
    """Of the command, where this is the first fault."""
