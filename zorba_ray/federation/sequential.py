"""All clients one after another in this process, on the driver's own replica: the reference, and the debugger."""

from collections.abc import Sequence

from zorba_ray.federation.backend import Answer, Usage
from zorba_ray.federation.host import ClientHost


class SequentialBackend:
    """`Backend` without processes: no deadline, no retry."""

    def __init__(self, host: ClientHost) -> None:
        self._host = host

    def ask(self, plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
        return self._host.answer(plan, clients)

    def apply(self, body: bytes) -> None:
        """The driver applied it to the replica that is shared with it."""

    def usage(self) -> list[Usage]:
        return []

    def retries(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing runs on its own."""
