"""The driver actor: runs one function on the node of the run directory. The terminal follows, stops and watches it."""

import importlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zorba_ray.errors import ClusterError, ZorbaError
from zorba_ray.federation.processes import ProcessClock

_POLL_S = 0.2
_START_S = 300.0
"""Seconds for the driver actor to start."""
STOPPED_S = 10.0
"""Seconds without an answer after which a driver that the system has stopped is given up."""
HUNG_S = 300.0
"""Seconds without an answer after which a driver that computes nothing is given up. It may wait for a disk."""
_IDLE_SHARE = 0.1
"""A driver that uses less than this share of one core computes nothing: Ray's own threads use a little."""


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

    def pid(self) -> int:
        """Process id."""
        return os.getpid()

    def events(self, start: int) -> list[dict[str, Any]]:
        """Events from number `start` on. Earlier ones are deleted."""
        done, self._fetched = start - self._fetched, start
        del self._events[:done]
        return list(self._events)

    def stop(self) -> None:
        """Asks the function to stop; it does so between two rounds."""
        self._stop.set()


class Watchdog:
    """How long the driver has not answered, and whether it is given up. Only time in which this process ran counts."""

    def __init__(self, pid: int) -> None:
        self._pid, self._clock = pid, ProcessClock(pid)
        self._silent_s = 0.0
        self._cpu_s = self._clock.cpu_s()

    def answered(self) -> None:
        """The driver has answered just now."""
        self._silent_s, self._cpu_s = 0.0, self._clock.cpu_s()

    def waited(self, seconds: float, stopping: bool = False) -> None:
        """There was no answer for `seconds` more. A driver that is given up is ended, so that it lets go of the run.

        Args:
            stopping: the user wants it to stop, so that less patience is due.

        Raises:
            ClusterError: it is given up; says why.
        """
        self._silent_s += min(seconds, 5 * _POLL_S)
        stopped = self._clock.stopped()
        if self._silent_s < (STOPPED_S if stopped or stopping else HUNG_S):
            return
        if not stopped and self._clock.cpu_s() - self._cpu_s > _IDLE_SHARE * self._silent_s:
            return  # it computes, and something in it lets no other thread answer
        self._clock.send(signal.SIGKILL)
        state = "it was stopped from outside (SIGSTOP)" if stopped else "it uses no CPU"
        raise ClusterError(
            f"the driver (process {self._pid}) has not answered for {self._silent_s:.0f} s: {state}. It was ended; "
            "every committed round is in the ledger: continue with --resume"
        )


def launch(
    entry: str, payload: dict[str, Any], emit: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
) -> Any:
    """Runs `entry` in a driver actor on this node, and passes its events to `emit`. Returns its result.

    Raises:
        ZorbaError: raised by the function.
        ClusterError: the driver actor did not start, died, or does not answer any more.
    """
    this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(DriverActor)
    driver = actor.options(num_cpus=0, num_gpus=0, max_concurrency=4, scheduling_strategy=this_node).remote()
    try:
        started = driver.pid.remote()
        if not ray.wait([started], timeout=_START_S)[0]:
            raise ClusterError(
                f"the driver actor did not start within {_START_S:.0f} s; look at `ray status`, then try again"
            )
        watchdog = Watchdog(ray.get(started, timeout=_START_S))
        result = driver.run.remote(entry, payload)
        event_count, stopping, done = 0, False, False
        while not done:
            done = bool(ray.wait([result], timeout=_POLL_S)[0])
            fetched, answered = driver.events.remote(event_count), False
            while not answered:
                began = time.monotonic()
                answered = bool(ray.wait([fetched], timeout=_POLL_S)[0])
                if should_stop() and not stopping:
                    stopping = True
                    driver.stop.remote()
                if not answered:
                    watchdog.waited(time.monotonic() - began, stopping)
            watchdog.answered()
            for event in ray.get(fetched, timeout=_START_S):
                event_count += 1
                emit(event)
        return ray.get(result, timeout=_START_S)
    except ClusterError:
        ray.kill(driver)
        raise
    except RayTaskError as error:
        if isinstance(error.cause, ZorbaError):
            raise error.cause from None
        raise
    except RayActorError as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"the driver actor died ({reason}); continue with --resume") from error
