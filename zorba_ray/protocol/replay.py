"""A replica and its position in the ledger. θ is θ0 with the commits up to that position applied in order."""

import math
from collections.abc import Iterable

import numpy as np
import torch

from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import DirectionBackend
from zorba_ray.errors import LedgerError, MessageError
from zorba_ray.models import Replica
from zorba_ray.protocol.aggregation import aggregate_of, refused_of
from zorba_ray.protocol.example_groups import counts_of, groups_of, padded
from zorba_ray.protocol.ledger import first_chain, next_chain
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit, decode
from zorba_ray.protocol.noise import noise_of
from zorba_ray.zo import (
    PendingCommits,
    RoundUpdate,
    UpdateRule,
    apply_rounds,
    reach,
    require_short,
    require_within_reach,
    step_length,
)

_FUSED_TERMS = 2048
"""Scalars after which the collected commits are applied, in one pass over θ. A scalar takes 20 bytes per block."""


def rule_of(header: LedgerHeader) -> UpdateRule:
    """The constants of the update that a ledger's header fixes."""
    aggregate, byzantine = aggregate_of(header.sections)
    return UpdateRule(
        seed=header.seed,
        seeds=header.seeds,  # type: ignore[arg-type]
        weights=header.weights,  # type: ignore[arg-type]
        distribution=header.distribution,  # type: ignore[arg-type]
        scope=header.scope,  # type: ignore[arg-type]
        directions=header.directions_per_step,
        local_steps=header.local_steps,
        samples=header.samples,
        rank=header.rank,
        clip_spread=header.clip_spread,
        aggregate=aggregate,
        byzantine=byzantine,
        groups=groups_of(header.sections),
        noise=noise_of(header.sections),
    )


class ReplicaState:
    """θ, the active sets and the position in the ledger, advanced by one commit at a time."""

    def __init__(
        self,
        replica: Replica,
        directions: DirectionBackend,
        header: LedgerHeader,
        lazily_with: DirectionBackend | None = None,
    ) -> None:
        """`replica` must hold θ0.

        Args:
            directions: implementation on the device that computes.
            lazily_with: implementation on the host, where θ is: then a commit is applied to a block when the block is
                read next. None: commits are applied at once.

        Raises:
            LedgerError: the manifest or the weights differ from the header's.
        """
        if replica.manifest.digest != header.manifest_sha256:
            raise LedgerError(
                f"the ledger is of another model: its manifest is {header.manifest_sha256[:16]}…, "
                f"this model's is {replica.manifest.digest[:16]}…; set model.path to the model the run began with"
            )
        weights = replica.digest()
        if weights != header.weights_sha256:
            raise LedgerError(
                f"the ledger begins at weights {header.weights_sha256[:16]}…, this model's are {weights[:16]}…: the "
                "files at model.path changed, or are of another model; set model.path to the base model of the run"
            )
        self.replica = replica
        self.directions = directions
        self.rule = rule_of(header)
        self.header = header
        self.active = ActiveSets(np.zeros((len(header.samples), header.blocks), dtype=bool))
        """The active sets in force. Before the first plan no client has an active block."""
        self.round = 0
        self.chain = first_chain(header)
        self._pending = None
        if lazily_with is not None:
            self._pending = PendingCommits(self.rule, replica.manifest, lazily_with, directions)
            replica.commits = self._pending

    def set_active(self, packed: bytes) -> None:
        """Sets the active sets to those of a plan or commit.

        Raises:
            LedgerError: not one set per client, or a set with blocks that this model lacks.
        """
        try:
            self.active = ActiveSets.unpacked(packed, self.active.clients, self.active.blocks)
        except ValueError as error:
            raise LedgerError(f"round {self.round + 1}: {error}") from error

    def movable(self) -> dict[str, torch.Tensor]:
        """Name -> flat fp32 tensor, for the tensors of θ that commits of this run can move. All commits are applied."""
        self.replica.sync_all()
        manifest = self.replica.manifest
        return {entry.name: self.replica.parameters[entry.name] for entry in manifest.moved(self.rule.scope)}

    def jump(self, round: int, chain: bytes) -> None:
        """Sets the position. Call it after the tensors of `movable` were overwritten with those after `round`."""
        if self._pending is not None:
            self._pending.jump()
            self.replica.overwritten()
        self.round, self.chain = round, chain

    def apply(self, body: bytes) -> None:
        """Applies the next commit (a ledger record's body).

        Raises:
            LedgerError: not the next round, or scalars that do not fit its clients.
            Diverged: the update overflows fp32.
        """
        self.catch_up([body])

    def check(self, body: bytes, size: float = math.inf) -> None:
        """Checks that the next commit can be applied, and changes nothing. Call it before the commit is written to the
        ledger, from which it cannot be removed.

        The commit's active sets must be those that the plan of the round set here.

        Args:
            size: ‖θ0‖ of the whole model.

        Raises:
            LedgerError: as `apply`.
            Diverged: it would move a weight by `zo.LIMIT` or more, or θ by more than `zo.FAR` · `size`.
        """
        commit = decode(body, RoundCommit)
        update = self._update(commit)
        require_within_reach(reach(update, self.rule), f"round {commit.round}: its scalars")
        length = step_length(update, self.rule, self.replica.manifest)
        require_short(length, size, f"round {commit.round}: its scalars")

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Applies several commits in order, up to about _FUSED_TERMS scalars in one pass over θ.

        Raises:
            LedgerError, Diverged: as `apply`; θ has the commits of the passes before the fault.
        """
        updates: list[RoundUpdate] = []
        terms, chain = 0, self.chain
        for body in bodies:
            update = self._update(self.read_commit(body, self.round + len(updates) + 1))
            chain = next_chain(chain, body)
            updates.append(update)
            terms += update.scalars.size
            if terms >= _FUSED_TERMS:
                self._take(updates, chain)
                updates, terms = [], 0
        if updates:
            self._take(updates, chain)

    def read_commit(self, body: bytes, number: int) -> RoundCommit:
        """Decodes the commit of round `number`, and sets the active sets if it has any.

        Raises:
            LedgerError: of another round, or active sets of another model.
        """
        commit = decode(body, RoundCommit)
        if commit.round != number:
            raise LedgerError(f"the commit is of round {commit.round}, round {number} is expected")
        if commit.active is not None:
            self.set_active(commit.active)
        return commit

    def _update(self, commit: RoundCommit) -> RoundUpdate:
        """A commit as arrays, with the active sets in force."""
        clients, scalars = unpack_scalars(commit, self.header)
        # The mean of all clients is stored as a report of client 0 and moves all blocks, whatever client 0 activates.
        is_mean = self.header.commits == "mean"
        active = ActiveSets.of_all(self.active.clients, self.active.blocks) if is_mean else self.active
        try:
            refused = refused_of(commit, active.clients)
        except MessageError as error:
            raise LedgerError(f"round {commit.round}: {error}") from error
        return RoundUpdate(commit.round, commit.lr, clients, scalars, active, refused)

    def _take(self, updates: list[RoundUpdate], chain: bytes) -> None:
        if self._pending is None:
            apply_rounds(self.directions, self.rule, self.replica.manifest, self.replica.parameters, updates)
        else:
            self._pending.add(updates)
            if self._pending.scalars >= _FUSED_TERMS:
                self.replica.sync_all()
                self._pending.forget()
        self.round = updates[-1].round
        self.chain = chain


def unpack_scalars(commit: RoundCommit, header: LedgerHeader) -> tuple[np.ndarray, np.ndarray]:
    """(client ids int64 [n], ρ float32 [n, K, P] or [n, K, P · G], as of `RoundUpdate`) of a commit.

    Mean scalars are returned as a report of client 0 alone: its weight is then 1, and all clients share its directions.

    Raises:
        LedgerError: counts do not fit, ids are not ascending or unknown, or a scalar is not finite.
    """
    if len(commit.clients) % 4:
        raise LedgerError(f"round {commit.round}: {len(commit.clients)} bytes of client ids, which take 4 bytes each")
    clients = np.frombuffer(commit.clients, dtype="<u4").astype(np.int64)
    if header.commits == "mean":
        clients = np.zeros(1, dtype=np.int64)
    elif not len(clients):
        clients = np.arange(len(header.samples), dtype=np.int64)
    full, steps = max(1, groups_of(header.sections)), len(clients) * header.local_steps
    try:
        values = np.frombuffer(commit.scalars, dtype="<f4").astype(np.float32)
        scalars = padded(values, counts_of(commit, steps, full), header.directions_per_step, full)
    except (MessageError, ValueError) as error:
        raise LedgerError(
            f"round {commit.round}: {len(commit.scalars)} bytes of scalars for {len(clients)} clients ({error})"
        ) from error
    if (np.diff(clients) <= 0).any() or (len(clients) and clients[-1] >= len(header.samples)):
        listing = clients.tolist()
        raise LedgerError(f"round {commit.round}: client ids {listing} are not ascending ids of this federation")
    if not np.isfinite(values).all():
        raise LedgerError(f"round {commit.round}: a scalar is not finite")
    return clients, scalars.reshape(len(clients), header.local_steps, -1)
