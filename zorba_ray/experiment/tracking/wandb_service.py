"""wandb's own process (wandb-core) from our side: calls that must come back, and its end by force."""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


def put_environment(variables: dict[str, str | None]) -> None:
    """Sets environment variables; None takes one away."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def release(seconds: float) -> None:
    """Ends wandb's process: frees the id that a failed init still holds. One that is stuck is killed."""
    import wandb

    try:
        within(max(0.5, seconds), "wandb.teardown", lambda: wandb.teardown(exit_code=1))
    except Exception as error:
        logger.debug("wandb.teardown: %s", error)
        kill_service()


def drop_import_hooks() -> None:
    """Takes away what wandb.init hangs on later imports (telemetry of which libraries are used).

    Such a hook speaks to wandb's process: once that is lost, importing a hooked library would fail.
    """
    from wandb.sdk.lib import import_hooks

    import_hooks.unregister_all_post_import_hooks()


def kill_service() -> None:
    """Ends wandb's process by force, and the exit hook that would wait for it for ever.

    What it had not written is lost to W&B, and told again when the run resumes. These are private names of wandb: where
    another version has others, a stuck process holds up the interpreter's exit, and nothing else.
    """
    try:
        from wandb.sdk import wandb_setup

        connection: Any = wandb_setup.singleton()._connection
        wandb_setup._singleton = None
        connection._cleanup()
        connection._proc._process.kill()
    except Exception as error:
        logger.debug("wandb's process: %s", error)


def within(seconds: float, name: str, call: Callable[[], T]) -> T:
    """`call()` in a thread of its own.

    Raises:
        TimeoutError: not back after `seconds`; the thread is left behind as a daemon.
        Exception: what the call raised.
    """
    answer: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    if answer:
        return answer[0]
    if failure:
        error = failure[0]
        raise error if isinstance(error, Exception) else RuntimeError(f"{name}: {type(error).__name__} {error}")
    raise TimeoutError(f"{name} was not back after {seconds:.0f} s")
