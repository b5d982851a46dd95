"""The source of a reward: found without running it, run only where the user said so, sent to workers as it is.

Who has a `RewardCode` may run it: `read_reward` makes one, and only of a module that is allowed. What runs on every
process are the bytes whose SHA-256 stands in the ledger.
"""

import hashlib
import importlib.machinery
import sys
import types
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zorba_ray.errors import ConfigError
from zorba_ray.printable import first_line, on_one_line

OWN = "zorba_ray.tasks.rewards"
"""The module of rewards that come with the package, and are always allowed."""


@dataclass(frozen=True)
class RewardCode:
    """A reward as text, with what its process needs to run it."""

    name: str
    """`task.reward`."""
    source: bytes
    file: str
    folders: tuple[str, ...]
    """Where its own imports are looked for too, behind Python's path."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the source file."""
        return hashlib.sha256(self.source).digest()

    def load(self) -> Callable[..., Any]:
        """Runs the module and gives its function.

        Raises:
            ConfigError: the module cannot be run, or has no such function.
        """
        module, _, function = self.name.partition(":")
        sys.path.extend(folder for folder in self.folders if folder not in sys.path)
        made = types.ModuleType(module)
        made.__file__ = self.file
        made.__package__ = module if Path(self.file).name == "__init__.py" else module.rpartition(".")[0]
        sys.modules.setdefault(module, made)  # what a module itself looks up, as dataclasses do
        try:
            exec(compile(self.source, self.file, "exec"), made.__dict__)
        except MemoryError:
            raise
        except Exception as error:  # whatever code of others raises
            raise ConfigError(
                f"task.reward={self.name}: {on_one_line(self.file)} cannot be run ({type(error).__name__}: "
                f"{on_one_line(first_line(error, 300))}); mend it, or put what it imports beside it or on PYTHONPATH"
            ) from error
        loaded = vars(made).get(function)
        if not callable(loaded):
            raise ConfigError(
                f"task.reward={self.name}: {on_one_line(self.file)} has no function {function}; write "
                f"def {function}(texts, references) there, or name another"
            )
        return loaded


def read_reward(name: str, allowed: Collection[str], folder: Path, again: str = "") -> RewardCode:
    """The source of a reward, of a module beside the run file or on Python's path. Nothing of it is run.

    Args:
        name: `task.reward`.
        allowed: modules that the user named with --allow-code.
        folder: of the run file.
        again: the command that was typed, for the message; empty: there was none.

    Raises:
        ConfigError: there is no such file, or the module is not allowed.
    """
    module = name.partition(":")[0]
    file = _file_of(module, folder)
    if file is None:
        raise ConfigError(
            f"task.reward={name}: there is no module {module} in {on_one_line(str(folder))} and none on Python's path; "
            f"put {module.replace('.', '/')}.py beside the run file, or its folder on PYTHONPATH"
        )
    if module != OWN and module not in allowed:
        way = f"run it so: {again} --allow-code {module}" if again else f"in Python: allow_code=[{module!r}]"
        raise ConfigError(
            f"task.reward={name}: {on_one_line(str(file))} is code that is not of zorba-ray, and runs only if you "
            f"allow it. Read it, then {way}"
        )
    try:
        return RewardCode(name, file.read_bytes(), str(file), (str(folder.resolve()),))
    except OSError as error:
        raise ConfigError(f"task.reward={name}: {on_one_line(str(file))} cannot be read ({error.strerror})") from error


def _file_of(module: str, folder: Path) -> Path | None:
    """The source file of a module; packages on the way are not run."""
    where: list[str] | None = [str(folder.resolve()), *sys.path]
    name, spec = "", None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = importlib.machinery.PathFinder.find_spec(name, where)
        if spec is None:
            return None
        where = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    source = spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader)
    return Path(spec.origin).resolve() if source and spec is not None and spec.origin else None
