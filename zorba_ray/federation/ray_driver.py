"""The driver actor: runs one function on the node of the run directory. The terminal can follow and stop it."""

import importlib
import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zorba_ray.errors import ClusterError, ZorbaError

_POLL_S = 0.2


class DriverActor:
    """Runs a function and keeps its events until they are fetched. It sees no GPU."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._fetched = 0
        """Number of events that were fetched and are no longer kept."""
        self._stop = threading.Event()

    def run(self, entry: str, payload: dict[str, Any]) -> Any:
        """Calls "module:function" with (payload, emit, should_stop)."""
        module, _, name = entry.partition(":")
        function = getattr(importlib.import_module(module), name)
        return function(payload, self._events.append, self._stop.is_set)

    def events(self, start: int) -> list[dict[str, Any]]:
        """Events from number `start` on. Earlier ones are deleted."""
        done, self._fetched = start - self._fetched, start
        del self._events[:done]
        return list(self._events)

    def stop(self) -> None:
        """Asks the function to stop; it does so between two rounds."""
        self._stop.set()


def launch(
    entry: str, payload: dict[str, Any], emit: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
) -> Any:
    """Runs `entry` in a driver actor on this node, and passes its events to `emit`. Returns its result.

    Raises:
        ZorbaError: raised by the function.
        ClusterError: the driver actor died.
    """
    this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(DriverActor)
    driver = actor.options(num_cpus=0, num_gpus=0, max_concurrency=4, scheduling_strategy=this_node).remote()
    result = driver.run.remote(entry, payload)
    event_count, stopping, done = 0, False, False
    try:
        while not done:
            done = bool(ray.wait([result], timeout=_POLL_S)[0])
            for event in ray.get(driver.events.remote(event_count)):
                event_count += 1
                emit(event)
            if should_stop() and not stopping:
                stopping = True
                driver.stop.remote()
        return ray.get(result)
    except RayTaskError as error:
        if isinstance(error.cause, ZorbaError):
            raise error.cause from None
        raise
    except RayActorError as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"the driver actor died ({reason}); continue with --resume") from error
