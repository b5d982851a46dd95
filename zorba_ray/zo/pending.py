"""Commits that wait until a block is read. Then several rounds are applied in one pass over its memory."""

from collections.abc import Mapping, Sequence

import torch

from zorba_ray.directions import DirectionBackend, Terms
from zorba_ray.models import Manifest
from zorba_ray.zo.update import RoundUpdate, UpdateRule, apply_terms, commit_terms, round_seeds


class PendingCommits:
    """The `models.Commits` of one run: commits that some blocks have not applied yet.

    A block applies them when it is read next, several rounds in one pass over its memory. The result has the same bytes
    as one commit after another.
    """

    def __init__(
        self, rule: UpdateRule, manifest: Manifest, on_host: DirectionBackend, on_device: DirectionBackend
    ) -> None:
        """`on_host` draws for tensors on the CPU, `on_device` for others."""
        self.position = 0
        self.oldest = 0
        self.scalars = 0
        """Number of scalars in the commits that are kept."""
        self._rule, self._manifest = rule, manifest
        self._on_host, self._on_device = on_host, on_device
        self._table: dict[tuple[int, int], list[Terms]] = {}
        """(block, rank of the directions) -> the terms of each commit in order; a commit may have none."""

    def add(self, updates: Sequence[RoundUpdate]) -> None:
        """Adds the next commits.

        Raises:
            Diverged: a coefficient overflows; then none of `updates` is added.
        """
        commits = [(update, round_seeds(self._rule, update)) for update in updates]
        table = {
            (block, rank): [commit_terms(self._rule, update, seeds, block, rank) for update, seeds in commits]
            for block in range(self._manifest.blocks)
            for rank in {0, self._rule.rank}
        }
        for key, terms in table.items():
            self._table.setdefault(key, []).extend(terms)
        self.position += len(updates)
        self.scalars += sum(update.scalars.size for update in updates)

    def sync(self, block: int, theta: Mapping[str, torch.Tensor], position: int) -> None:
        """Applies the commits since `position` to a block's tensors in scope (name -> fp32 [numel]), in place."""
        assert position >= self.oldest, "the block needs commits that are no longer kept"
        table = {rank: self._table[block, rank][position - self.oldest :] for rank in {0, self._rule.rank}}
        for tensor in self._manifest.scoped(block, self._rule.scope):
            flat = theta[tensor.name]
            directions = self._on_host if flat.device.type == "cpu" else self._on_device
            apply_terms(directions, self._rule, tensor, flat, table)

    def forget(self) -> None:
        """Drops all commits. Call it when every block on the host has applied them."""
        self._table.clear()
        self.oldest, self.scalars = self.position, 0

    def jump(self) -> None:
        """Call it when θ was overwritten, as by a snapshot. Copies made before can then not be updated any more."""
        self.position += 1
        self.forget()


def apply_rounds(
    directions: DirectionBackend,
    rule: UpdateRule,
    manifest: Manifest,
    theta: Mapping[str, torch.Tensor],
    updates: Sequence[RoundUpdate],
) -> None:
    """Applies commits to every block of a replica, also to blocks that its clients never perturb.

    Raises:
        Diverged: a coefficient overflows; then θ is unchanged.
    """
    pending = PendingCommits(rule, manifest, directions, directions)
    pending.add(updates)
    for block in range(manifest.blocks):
        pending.sync(block, theta, 0)
