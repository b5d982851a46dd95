"""What may be imported without its heavy friends, measured in a fresh process."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "transformers", "datasets", "numba", "pyomo", "wandb", "matplotlib", "jinja2"}
"""What takes a good part of a second to import, each."""

_PROBE = """
import json, sys
{code}
print(json.dumps(sorted(sys.modules)))
"""

_HELP = """
import contextlib, io
sys.argv = ["zorba-ray", *{arguments}]
from zorba_ray.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main()
assert {expected!r} in out.getvalue(), out.getvalue()
"""


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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "allocate"),
        (["run", "--help"], "--resume"),
        (["profile", "--help"], "--length"),
        (["replay", "--help"], "--export"),
        (["doctor", "--help"], "--working-dir"),
    ],
)
def test_help_is_light(arguments: list[str], expected: str) -> None:
    """Not even the settings are loaded: help is there at once."""
    modules = _modules(_HELP.format(arguments=arguments, expected=expected))
    assert not modules & {*HEAVY, "numpy", "zorba_ray.config"}


def test_the_list_of_settings_is_light() -> None:
    assert not _modules(_HELP.format(arguments=["schema"], expected="zo.lr")) & HEAVY


def test_the_module_is_the_same_program() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "zorba_ray", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    from zorba_ray import __version__

    assert answer.stdout.strip() == __version__
