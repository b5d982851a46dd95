"""All clients one after another in this process, on the driver's own replica: the reference, and the debugger."""

from collections.abc import Sequence

from zorba_ray.errors import ZorbaError
from zorba_ray.federation.backend import Answer, Failure, Usage
from zorba_ray.federation.host import ClientHost


class SequentialBackend:
    """`Backend` without processes: no deadline, no retry."""

    def __init__(self, host: ClientHost) -> None:
        self._host = host

    def ask(self, plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        for client in clients:
            try:
                answers[client] = self._host.answer(plan, client)
            except ZorbaError as error:
                answers[client] = Failure("failed", f"{type(error).__name__}: {error}")
        return answers

    def apply(self, body: bytes) -> None:
        """The driver applied it to the replica that is shared with it."""

    def usage(self) -> list[Usage]:
        return []

    def retries(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing runs on its own."""
