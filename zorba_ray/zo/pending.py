"""Commits that blocks still lack: applied when a block is read, several rounds in one pass over its memory."""

from collections.abc import Mapping, Sequence

import torch

from zorba_ray.directions import DirectionBackend, Terms
from zorba_ray.models import Manifest
from zorba_ray.zo.rule import UpdateRule
from zorba_ray.zo.update import RoundUpdate, commit_table, move, rank_of


class PendingCommits:
    """`models.Commits` of one run. Any grouping into passes gives the bytes of one commit after another."""

    def __init__(
        self, rule: UpdateRule, manifest: Manifest, on_host: DirectionBackend, on_device: DirectionBackend
    ) -> None:
        """`on_host` draws for tensors on the CPU, `on_device` for others."""
        self.position = 0
        self.oldest = 0
        self.scalars = 0
        """Scalars of the commits that are kept."""
        self._rule, self._manifest = rule, manifest
        self._on_host, self._on_device = on_host, on_device
        self._table: dict[tuple[int, int], list[Terms]] = {}

    def add(self, updates: Sequence[RoundUpdate]) -> None:
        """The next commits.

        Raises:
            Diverged: a coefficient overflows; none of `updates` is taken then.
        """
        for key, commits in commit_table(self._rule, self._manifest.blocks, updates).items():
            self._table.setdefault(key, []).extend(commits)
        self.position += len(updates)
        self.scalars += sum(update.scalars.size for update in updates)

    def sync(self, block: int, theta: Mapping[str, torch.Tensor], position: int) -> None:
        """Applies the commits since `position` to a block's tensors in scope, in place."""
        assert position >= self.oldest, "commits that were forgotten"
        for tensor in self._manifest.scoped(block, self._rule.scope):
            rank, flat = rank_of(self._rule, tensor), theta[tensor.name]
            directions = self._on_host if flat.device.type == "cpu" else self._on_device
            move(directions, tensor, flat, rank, self._table[block, rank][position - self.oldest :])

    def forget(self) -> None:
        """Lets go of all commits: the host's blocks have them."""
        self._table.clear()
        self.oldest, self.scalars = self.position, 0

    def jump(self) -> None:
        """θ was written from elsewhere: a position that nothing held before it can be brought to."""
        self.position += 1
        self.forget()
