"""zorba-ray: the commands, and what an error becomes."""

import io
import sys
import traceback
import unicodedata
from typing import NoReturn

import typer

from zorba_ray import __version__
from zorba_ray.cli import (
    allocate,
    compare,
    evaluate,
    init,
    lr,
    predict,
    profile,
    repair,
    replay,
    report,
    run,
    schema,
    sweep,
)
from zorba_ray.cli.doctor.command import doctor
from zorba_ray.cli.terminal import guarded, say
from zorba_ray.errors import ConfigError, ZorbaError, refused_place
from zorba_ray.printable import shown

EPILOG = (
    "Exit codes: 0 ok, 1 a fault of zorba-ray, 2 settings, data, model or folder refused, 3 no allocation fits, "
    "4 cluster or accelerator, 5 too few clients answered, 6 ledger damaged, 7 model destroyed, 8 disk full or "
    "read-only, 9 failed runs in a sweep, 130 stopped (go on with --resume). See docs/troubleshooting.md."
)

app = typer.Typer(
    name="zorba-ray",
    help="Fine-tune language models in a federation of unequal machines, with forward passes only.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init", no_args_is_help=True)(init.init)
app.command("run", no_args_is_help=True)(run.run)
app.command("sweep", no_args_is_help=True)(sweep.sweep)
app.command("compare", no_args_is_help=True)(compare.compare)
app.command("allocate", no_args_is_help=True)(allocate.allocate)
app.command("lr", no_args_is_help=True)(lr.lr)
app.command("profile", no_args_is_help=True)(profile.profile)
app.command("replay", no_args_is_help=True)(replay.replay)
app.command("repair", no_args_is_help=True)(repair.repair)
app.command("evaluate", no_args_is_help=True)(evaluate.evaluate)
app.command("predict", no_args_is_help=True)(predict.predict)
app.command("report", no_args_is_help=True)(report.report)
app.command("doctor")(doctor)
app.command("schema")(schema.schema)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        say(__version__)
        raise typer.Exit()


def main() -> None:
    """Runs the program; a `ZorbaError` becomes one message on stderr and its exit code.

    Any other exception is a defect: its traceback is shown, and that it is to be reported.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks becomes '?', not an error
            stream.reconfigure(errors="replace")
    with guarded():
        try:
            _require_plausible(sys.argv[1:])
            app()
        except ZorbaError as error:
            say(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            say("interrupted; a run with a ledger continues with --resume", err=True)
            sys.exit(130)
        except OSError as error:
            if error.filename is None:
                _report_defect()
            refused = refused_place("a file or folder cannot be used", error)
            say(f"error: {refused}", err=True)
            sys.exit(refused.exit_code)
        except Exception:
            _report_defect()


def _report_defect() -> NoReturn:
    """Of the exception that is being handled."""
    traceback.print_exc()
    say("internal error: this is a defect of zorba-ray; please report it with the lines above", err=True)
    sys.exit(1)


_LONGEST_OPTION, _LONGEST_PATH = 200, 4_096


def _require_plausible(arguments: list[str]) -> None:
    """Raises ConfigError: an argument that cannot go into names, files and messages."""
    for place, text in enumerate(arguments, start=1):
        if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" for sign in text):
            raise ConfigError(
                f"argument {place}, {shown(text)}, has a control character or bytes that are no UTF-8: write it "
                "without, and rename the file or folder if that is its name"
            )
        if "=" not in text and len(text) > (_LONGEST_OPTION if text.startswith("-") else _LONGEST_PATH):
            raise ConfigError(f"argument {place}, {shown(text)}, is longer than any option or path")
