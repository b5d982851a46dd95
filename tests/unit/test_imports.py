"""What may be imported without its heavy friends, measured in a fresh process."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "transformers", "datasets", "numba", "pyomo", "wandb")

_PROBE = """
import json, resource, sys
{code}
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([sorted(sys.modules), usage.ru_utime + usage.ru_stime]))
"""

_HELP = """
import contextlib, io
sys.argv = ["zorba-ray", *{arguments}]
from zorba_ray.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main()
assert {expected!r} in out.getvalue(), out.getvalue()
"""


def _probe(code: str) -> tuple[set[str], float]:
    answer = subprocess.run(
        [sys.executable, "-c", _PROBE.format(code=code)], capture_output=True, text=True, check=True, timeout=60
    )
    modules, seconds = json.loads(answer.stdout.splitlines()[-1])
    return set(modules), seconds


@pytest.mark.parametrize(
    "module",
    [
        "zorba_ray.config",
        "zorba_ray.allocation",
        "zorba_ray.protocol.messages",
        "zorba_ray.protocol.ledger",
        "zorba_ray.protocol.traffic",
    ],
)
def test_settings_allocation_and_wire_types_are_light(module: str) -> None:
    modules, _ = _probe(f"import {module}")
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
        (["schema"], "zo.lr"),
    ],
)
def test_help_is_quick_and_light(arguments: list[str], expected: str) -> None:
    """Under 1 s (of CPU time here, as the machine may be busy), neither torch nor ray."""
    modules, seconds = _probe(_HELP.format(arguments=arguments, expected=expected))
    assert not modules & set(HEAVY)
    assert seconds < 1.0


def test_the_module_is_the_same_program() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "zorba_ray", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    from zorba_ray import __version__

    assert answer.stdout.strip() == __version__
