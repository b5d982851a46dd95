"""How a signal becomes a request to stop."""

import signal
from typing import Any

from zorba_ray.cli.terminal import say


class StopFlag:
    """The first SIGINT or SIGTERM asks for a stop after the round in progress; a second SIGINT breaks off."""

    def __init__(self) -> None:
        self._set = False
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._set = True
        say("stopping after this round (Ctrl-C again: at once); the ledger keeps every finished round", err=True)

    def is_set(self) -> bool:
        return self._set
