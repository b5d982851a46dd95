"""What the code imports is declared, what is private in other libraries is still there, and every licence is known."""

import ast
import functools
import importlib
import inspect
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.documents import ROOT
from tools.licences import PAGE, UNKNOWN

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DISTRIBUTIONS = packages_distributions()
"""Module -> the packages that bring it."""
FOLDERS = ("zorba_ray", "tests", "tools", "benchmarks", "analysis")
NOT_DECLARED = {"triton": "comes with torch's wheels for CUDA", "click": "typer's own", "_pytest": "pytest's own"}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


DECLARED = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}


@functools.cache
def trees(folder: str) -> dict[str, ast.Module]:
    """File -> its syntax."""
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in (ROOT / folder).rglob("*.py")}


def imports(tree: ast.Module) -> list[tuple[str, str]]:
    """(module, name) of every import of another library; an empty name where the module itself is imported."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
    ours = {*sys.stdlib_module_names, *FOLDERS}
    return [(module, name) for module, name in found if module.split(".")[0] not in ours]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_import_is_declared(folder: str) -> None:
    """The package's own by its dependencies and its users' extras; the rest may use the developers' extra too."""
    allowed = DECLARED | EXTRAS["optuna"] | EXTRAS["workspaces"]
    allowed |= set() if folder == "zorba_ray" else EXTRAS["dev"] | EXTRAS["docs"]
    missing = defaultdict(set)
    for file, tree in trees(folder).items():
        for module, _ in imports(tree):
            top = module.split(".")[0]
            if (
                top not in NOT_DECLARED
                and not {canonicalize_name(name) for name in DISTRIBUTIONS.get(top, [top])} & allowed
            ):
                missing[top].add(file)
    assert dict(missing) == {}, "declare them in pyproject.toml"


def test_every_dependency_is_imported() -> None:
    """What nobody imports is not needed."""
    modules = {module.split(".")[0] for tree in trees("zorba_ray").values() for module, _ in imports(tree)}
    used = {canonicalize_name(name) for module in modules for name in DISTRIBUTIONS.get(module, [])}
    assert sorted(DECLARED - used) == []


# --- private names of other libraries ---------------------------------------------------------------------------------


def private_imports() -> list[tuple[str, str, str]]:
    """(file, module, name) of imports that go through a private module, or of a private name."""
    return sorted(
        (file, module, name)
        for file, tree in trees("zorba_ray").items()
        for module, name in imports(tree)
        if any(part.startswith("_") for part in (*module.split("."), name))
    )


@pytest.mark.parametrize(("file", "module", "name"), private_imports())
def test_a_private_import_is_still_there(file: str, module: str, name: str) -> None:
    library = module.split(".")[0]
    gone = f"{file} needs {module}.{name}, a private name that {library} {version(library)} no longer has"
    try:
        owner = importlib.import_module(module)
    except ImportError as error:
        pytest.fail(f"{gone}: {error}")
    if not hasattr(owner, name):
        try:
            importlib.import_module(f"{module}.{name}")
        except ImportError:
            pytest.fail(gone)


def _source(module: str) -> str:
    return inspect.getsource(importlib.import_module(module))


def _of_torch(name: str) -> bool:
    import torch

    owners = (torch.nn.Linear(1, 1), torch.zeros(1), torch.zeros(1).untyped_storage())
    return any(hasattr(owner, name) for owner in owners)


def _of_numba(name: str) -> bool:
    import numba

    return hasattr(numba.njit(lambda: None), name)


def _of_pyomo(name: str) -> bool:
    from pyomo.contrib.solver.solvers.highs import Highs

    return hasattr(Highs(), name)


PRIVATE: dict[str, Callable[[str], bool]] = {
    **dict.fromkeys(("_parameters", "_buffers", "_version", "_cdata", "_make_wrapper_subclass"), _of_torch),
    "_cache": _of_numba,
    "_solver_model": _of_pyomo,
    **dict.fromkeys(
        ("_get_excludes", "_dir_travel"), lambda name: name in _source("ray._private.runtime_env.packaging")
    ),
    **dict.fromkeys(("_temp_dir", "_node_ip_address"), lambda name: f'"{name}"' in _source("ray._private.worker")),
    **dict.fromkeys(("_singleton", "_connection"), lambda name: name in _source("wandb.sdk.wandb_setup")),
    **dict.fromkeys(("_proc", "_cleanup"), lambda name: name in _source("wandb.sdk.lib.service.service_connection")),
    "_process": lambda name: name in _source("wandb.sdk.lib.service.service_process"),
}
"""Private attribute or argument of another library -> whether the installed version has it."""


def private_attributes() -> dict[str, set[str]]:
    """Private attribute that no file of ours defines -> files that use it on an object."""
    used, ours = defaultdict(set), {"_replace", "_asdict", "_fields", "_make"}  # named tuples: documented
    for file, tree in trees("zorba_ray").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                ours.add(node.target.id)
            elif isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                (ours.add(node.attr) if own else used[node.attr].add(file))
    return {name: files for name, files in used.items() if name not in ours}


def test_private_attributes_are_known_and_still_there() -> None:
    """A new one needs a row in PRIVATE, or better a public name."""
    unknown = {name: files for name, files in private_attributes().items() if name not in PRIVATE}
    assert unknown == {}
    gone = [name for name, is_there in PRIVATE.items() if not is_there(name)]
    assert gone == [], "another version of their library has other names"


# --- licences ---------------------------------------------------------------------------------------------------------


def test_every_dependency_has_a_known_licence() -> None:
    """docs/licences.md has a row for each, none is unknown, and none asks for the source of what uses it."""
    rows = {row.split(" | ")[0].strip("| "): row for row in PAGE.read_text("utf-8").splitlines() if " | " in row}
    wanted = DECLARED | EXTRAS["gguf"] | EXTRAS["optuna"] | EXTRAS["workspaces"]
    assert sorted(wanted - set(rows)) == [], "python -m tools.licences"
    assert [row for row in rows.values() if UNKNOWN in row or re.search(r"\b(A|L)?GPL", row)] == []


def test_versions_agree() -> None:
    import zorba_ray

    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert cited is not None
    assert newest is not None
    assert PROJECT["version"] == zorba_ray.__version__ == cited[1] == newest[1]
    assert Path(zorba_ray.__file__).with_name("py.typed").exists()


def test_constraints_hold_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line}
    wanted: set[Any] = DECLARED.union(*EXTRAS.values()) - {"zorba-ray"}
    assert sorted(wanted - pinned) == []
