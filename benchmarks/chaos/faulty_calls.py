"""Calls of the operating system that go wrong in a drill: a clock set back, a pause or an end before a sync.

Python imports a module `sitecustomize` before a program, where one is on its path. The drills put one there that calls
`install`. The program under test has no hook for it.
"""

import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SITE = "from benchmarks.chaos import faulty_calls\n\nfaulty_calls.install()\n"
_BACK, _PAUSE, _MARK = "CHAOS_CLOCK_BACK_S", "CHAOS_PAUSE_AT_SYNC", "CHAOS_MARK"


def environment(folder: Path, back_s: float = 0.0, pause_at: int = 0) -> dict[str, str]:
    """Of a process whose clock is `back_s` seconds late, or which stops before its `pause_at`-th sync: it then writes
    the file `folder`/paused and waits to be killed."""
    (folder / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    here = Path(__file__).parents[2]
    paths = [str(folder), str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        _BACK: str(back_s),
        _PAUSE: str(pause_at),
        _MARK: str(folder / "paused"),
    }


def install() -> None:
    """Replaces the calls in this process, as its environment says."""
    back, pause_at = float(os.environ.get(_BACK, 0)), int(os.environ.get(_PAUSE, 0))
    if back:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() - back
        time.time_ns = lambda: now_ns() - int(back * 1e9)
    if pause_at:
        sync, calls = os.fsync, iter(range(1, 1 << 30))

        def paused(handle: int) -> None:
            if next(calls) == pause_at:
                Path(os.environ[_MARK]).touch()
                time.sleep(3600)
            sync(handle)

        os.fsync = paused


def die_before(number: int) -> None:
    """From now on this process kills itself (SIGKILL) before it syncs or renames a file for the `number`-th time."""
    calls = itertools.count(1)

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **more)

        return called

    os.fsync, os.replace, os.rename = deadly(os.fsync), deadly(os.replace), deadly(os.rename)
