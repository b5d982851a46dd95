"""When a run writes its snapshots, and what it means where one cannot be written."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from zorba_ray.errors import StorageError
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.snapshot import write_snapshot
from zorba_ray.stopwatch import Watch


class Snapshots:
    """Of one session of a run."""

    def __init__(
        self, folder: Path, commits: str, every: int | None, watch: Watch, note: Callable[[str], None]
    ) -> None:
        """`commits`: `LedgerHeader.commits`; `every`: `federation.snapshot_every`."""
        self._folder, self._watch, self._note = folder, watch, note
        self._alone = commits == "tensors"
        self._every = every

    def before_telling(self, state: ReplicaState) -> None:
        """Of a round whose tensors are nowhere else, before anybody is told of it: without it the round is done again.

        Raises:
            StorageError: it cannot be written.
        """
        if not self._alone:
            return
        try:
            self._write(state)
        except (OSError, SafetensorError) as error:
            raise StorageError(
                f"{self._folder}: the tensors of round {state.round} cannot be written ({error}), and they are "
                "nowhere else: make room, then continue with --resume, which does the round again"
            ) from error

    def after_telling(self, state: ReplicaState) -> None:
        """Of a round that the ledger holds whole, every so often: a shortcut, so that nothing is lost without it."""
        if self._alone or self._every is None or state.round % self._every:
            return
        try:
            self._write(state)
        except (OSError, SafetensorError) as error:
            self._note(f"warning: no snapshot of round {state.round} ({error})")

    def _write(self, state: ReplicaState) -> None:
        with self._watch.part("snapshots"):
            write_snapshot(self._folder, state)
