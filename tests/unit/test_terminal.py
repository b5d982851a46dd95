"""What others named reaches the terminal as text: no control character, no markup, no more than can be read."""

import io
import os
import pickle
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from tests.conftest import Cli
from zorba_ray.cli.terminal import Console, guarded, say
from zorba_ray.errors import AllocationInfeasible, ZorbaError
from zorba_ray.printable import MESSAGE, printable, shortened, shown

EVIL = "\x1b[2J\x1b]0;title\x07[red]name[/red]:smile:\r\x9b31m\u202ename\x00"


def raw(text: str) -> list[str]:
    return [sign for sign in text if (ord(sign) < 32 and sign not in "\n\t") or 127 <= ord(sign) < 160]


def test_printable_writes_control_characters_out() -> None:
    assert printable("a\x1b[31m\tb\nc\x7f\x9b\u202e\udcff\x00") == "a\\x1b[31m\tb\nc\\x7f\\x9b\\u202e\\udcff\\x00"
    assert printable("grün · 日本語 ‒ العربية") == "grün · 日本語 ‒ العربية"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_shows_names_as_they_are(terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=terminal, color_system=None)
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    table.add_row(Text(EVIL))
    console.print(table)
    console.print(EVIL, style="yellow")
    console.print(Text(EVIL))
    console.print_json('{"name": "\x7f\x9b"}')
    text = stream.getvalue()
    assert not raw(text)
    assert text.count("[red]name[/red]:smile:") == 6
    assert "\\x1b[2J" in text


def test_its_own_colours_still_reach_a_terminal() -> None:
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system="standard").print("\x1b[2J", style="red")
    assert stream.getvalue() == "\x1b[31m\\x1b[2J\x1b[0m\n"


def test_say(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL)
    say(EVIL, err=True)
    found = capsys.readouterr()
    assert not raw(found.out + found.err)
    assert "[red]name[/red]" in found.out


def test_what_libraries_print_is_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    """A progress bar keeps its carriage return and loses its colours; the rest is written out."""
    before = sys.stdout
    with guarded():
        print("\r\x1b[32m50%\x1b[0m \x1b]0;title\x07")
        sys.stderr.writelines(["\x9b1m\n"])
        assert not sys.stdout.isatty()
    assert sys.stdout is before
    found = capsys.readouterr()
    assert found.out == "\r50% \\x1b]0;title\\x07\n"
    assert found.err == "\\x9b1m\n"


def test_an_error_message_is_never_longer_than_can_be_read() -> None:
    error = AllocationInfeasible("x" * 10**6 + " set federation.clients to 3")
    assert len(str(error)) == MESSAGE
    assert "1,000,028 characters" in str(error)
    assert str(error).endswith("set federation.clients to 3")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert shortened(str(error)) == str(error)
    assert str(ZorbaError("short")) == "short"


def test_a_value_is_shown_without_a_walk_through_it() -> None:
    assert shown(1.5) == "1.5"
    assert shown("{text}") == "'{text}'"
    assert shown("x" * 10**6) == "'" + "x" * 80 + "'… (1,000,000 characters)"
    assert shown(10**5_000) == "an integer of 16,610 bits"
    assert len(shown([[list(range(1000))] * 1000] * 1000)) < 500
    assert len(shown({str(key): "v" * 1000 for key in range(10**5)})) < 1_000


def test_an_encoding_that_lacks_signs_is_no_error() -> None:
    """As on a terminal without UTF-8: what it cannot show is '?', and the borders of tables are plain."""
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "zorba_ray", "profile", "demo"]
    found = subprocess.run(command, capture_output=True, env=environ, timeout=60, check=True)
    text = found.stdout.decode("ascii")
    assert "MeZO" in text
    assert "32 ? 32" in text
    assert "|" in text


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["run", "demo", "name=\x1b[31m"], "argument 3, 'name=\\x1b[31m', has a control character"),
        (["report", "caf\udce9"], "bytes that are no UTF-8"),
        (["run", "demo", "--" + "x" * 5_000], "longer than any option or path"),
        (["replay", "x" * 5_000], "longer than any option or path"),
        (["report", "x" * 4_000], "File name too long"),
        (["run", "x" * 4_000], "no such file"),
    ],
)
def test_arguments_that_cannot_go_into_names_and_messages(cli: Cli, arguments: list[str], fragment: str) -> None:
    found = cli(*arguments)
    assert found.code == 2
    assert fragment in found.err
    assert len(found.err) <= 2_000
    assert not raw(found.out + found.err)
    assert "Traceback" not in found.err


def test_a_defect_is_reported_as_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("\x1b[31mgone")

    monkeypatch.setattr("zorba_ray.config.load_config", broken)
    found = cli("run", "demo")
    assert found.code == 1
    assert "Traceback" in found.err
    assert "this is a defect of zorba-ray; please report it" in found.err
    assert not raw(found.err)
