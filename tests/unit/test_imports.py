"""What may be imported without its heavy friends, measured in a fresh process."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch", "ray", "transformers", "datasets", "numba", "pandas", "pyomo", "wandb", "matplotlib", "jinja2",
    "sklearn", "scipy",
}  # fmt: skip
"""What takes a good part of a second to import, each."""

_PROBE = """
import json, sys
{code}
print(json.dumps(sorted(sys.modules)))
"""

_PRINTED = """
import contextlib, io, os, time
os.environ["COLUMNS"] = "80"
from zorba_ray.cli.main import main
for arguments in {commands}:
    sys.argv = ["zorba-ray", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    assert {expected!r} in out.getvalue(), out.getvalue()
    assert {expected!r} != "--help" or max(map(len, out.getvalue().splitlines())) <= 80, out.getvalue()
assert time.process_time() < {seconds}, time.process_time()
"""
COMMANDS = (
    "run", "sweep", "compare", "allocate", "lr", "profile", "replay", "repair", "evaluate", "predict", "report",
    "doctor", "schema", "init",
)  # fmt: skip


def _modules(code: str) -> set[str]:
    """What is imported after `code`, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-c", _PROBE.format(code=code)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(answer.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module",
    [
        "zorba_ray.config",
        "zorba_ray.allocation",
        "zorba_ray.protocol.messages",
        "zorba_ray.protocol.ledger",
    ],
)
def test_settings_allocation_and_wire_types_are_light(module: str) -> None:
    modules = _modules(f"import {module}")
    assert module in modules
    assert not modules & {"torch", "ray", "transformers"}


def test_a_client_actor_solves_no_program() -> None:
    """What a restarted actor imports before it can serve: no Pyomo, by which numba's import would load scipy.stats."""
    modules = _modules("import zorba_ray.experiment.build")
    assert "torch" in modules
    assert not modules & {"pyomo", "scipy.stats", "pandas", "wandb", "matplotlib", "ray"}


def test_help_of_every_command_is_light_and_fits_80_columns() -> None:
    """Not even the settings are loaded: help is there at once; that of all commands takes less CPU than allowed for
    one and a start of Python for each other."""
    commands = [["--help"], *([name, "--help"] for name in COMMANDS)]
    modules = _modules(_PRINTED.format(commands=commands, expected="--help", seconds=1.0 + 0.1 * len(COMMANDS)))
    assert not modules & {*HEAVY, "numpy", "zorba_ray.config"}


def test_the_commands_are_all_there() -> None:
    from zorba_ray.cli.main import app

    assert {command.name for command in app.registered_commands} == set(COMMANDS)


def test_the_list_of_settings_is_light() -> None:
    assert not _modules(_PRINTED.format(commands=[["schema"]], expected="zo.lr", seconds=2.0)) & HEAVY


def test_the_module_is_the_same_program() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "zorba_ray", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    from zorba_ray import __version__

    assert answer.stdout.strip() == __version__
