"""A federation in which the last client never answers."""

from collections.abc import Sequence
from typing import Any

from zorba_ray.experiment import sequential_backend
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.rundir import RunDir
from zorba_ray.federation import Backend, ClientHost
from zorba_ray.federation.backend import Answer, Failure, Usage


class Missing:
    """A backend in which the last client never answers."""

    def __init__(self, inner: Backend, clients: int) -> None:
        self._inner, self._clients = inner, clients

    def ask(self, plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
        gone = self._clients - 1
        answers = self._inner.ask(plan, [client for client in clients if client != gone])
        return {**answers, gone: Failure("failed", "gone")}

    def apply(self, body: bytes) -> None:
        self._inner.apply(body)

    def usage(self) -> list[Usage]:
        return self._inner.usage()

    def retries(self) -> int:
        return 0

    def close(self) -> None:
        self._inner.close()


def without_the_last(setup: Setup, host: ClientHost, allocation: dict[str, Any], run: RunDir) -> Backend:
    """A `BackendFactory`."""
    host.load_shards(setup.shards)
    return Missing(sequential_backend(setup, host, allocation, run), setup.config.federation.clients)
