"""`zorba-ray doctor`: checks before a run, with a remedy for every fault."""

from typing import Literal, NamedTuple

Level = Literal["ok", "note", "fault"]


class Finding(NamedTuple):
    """One line of the output. A fault always has a remedy."""

    level: Level
    what: str
    remedy: str = ""
    exit_code: int = 4
    """Exit code of the command if this is the first fault."""
