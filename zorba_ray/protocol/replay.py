"""A replica and its place in the ledger: θ is a fold over commits."""

from collections.abc import Iterable

import numpy as np

from zorba_ray.directions import DirectionBackend
from zorba_ray.errors import LedgerError
from zorba_ray.models import Replica
from zorba_ray.protocol.codec import decode
from zorba_ray.protocol.ledger import first_chain, next_chain
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit, unpack_active
from zorba_ray.zo import UpdateRule, apply_round


def rule_of(header: LedgerHeader) -> UpdateRule:
    """The constants of the update that a ledger's header fixes."""
    return UpdateRule(
        seed=header.seed,
        seeds=header.seeds,  # type: ignore[arg-type]
        weights=header.weights,  # type: ignore[arg-type]
        distribution=header.distribution,  # type: ignore[arg-type]
        scope=header.scope,  # type: ignore[arg-type]
        directions=header.directions_per_step,
        local_steps=header.local_steps,
        samples=header.samples,
    )


class ReplicaState:
    """θ, the active sets and the position in the ledger, advanced by one commit at a time."""

    def __init__(self, replica: Replica, directions: DirectionBackend, header: LedgerHeader) -> None:
        """`replica` must hold θ0.

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
                f"the ledger begins at weights {header.weights_sha256[:16]}…, this model holds {weights[:16]}…: "
                "the files behind model.path changed, or are of another model; give the base model of the run"
            )
        self.replica = replica
        self.directions = directions
        self.rule = rule_of(header)
        self.header = header
        self.active: list[frozenset[int]] = []
        self.round = 0
        self.chain = first_chain(header)

    def set_active(self, packed: bytes) -> None:
        """Takes over active sets from a plan or commit.

        Raises:
            LedgerError: not one set per client over this model's blocks.
        """
        try:
            self.active = unpack_active(packed, len(self.rule.samples), self.header.blocks)
        except ValueError as error:
            raise LedgerError(f"round {self.round + 1}: {error}") from error

    def apply(self, body: bytes) -> RoundCommit:
        """Applies the next commit (a ledger record's body).

        Raises:
            LedgerError: not the next round, or scalars that do not fit its clients.
            Diverged: the update overflows fp32.
        """
        commit = decode(body, RoundCommit)
        if commit.round != self.round + 1:
            raise LedgerError(f"commit of round {commit.round} where round {self.round + 1} is next")
        if commit.active is not None:
            self.set_active(commit.active)
        clients, scalars = unpack_scalars(commit, self.rule)
        apply_round(
            self.directions,
            self.rule,
            self.replica.manifest,
            self.replica.parameters,
            commit.round,
            commit.lr,
            clients,
            scalars,
            self.active,
        )
        self.round = commit.round
        self.chain = next_chain(self.chain, body)
        return commit

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Applies several commits in order."""
        for body in bodies:
            self.apply(body)


def unpack_scalars(commit: RoundCommit, rule: UpdateRule) -> tuple[list[int], np.ndarray]:
    """(client ids, ρ float32 [n, K, P]) of a commit.

    Raises:
        LedgerError: counts do not fit, ids not ascending or unknown, or a scalar is not finite.
    """
    clients = np.frombuffer(commit.clients, dtype="<u4").astype(np.int64).tolist()
    shape = (len(clients), rule.local_steps, rule.directions)
    if len(commit.scalars) != 4 * shape[0] * shape[1] * shape[2]:
        raise LedgerError(f"round {commit.round}: {len(commit.scalars)} bytes of scalars for {shape[0]} clients")
    if sorted(set(clients)) != clients or (clients and clients[-1] >= len(rule.samples)):
        raise LedgerError(f"round {commit.round}: client ids {clients} are not ascending ids of this federation")
    scalars = np.frombuffer(commit.scalars, dtype="<f4").astype(np.float32).reshape(shape)
    if not np.isfinite(scalars).all():
        raise LedgerError(f"round {commit.round}: a scalar is not finite")
    return clients, scalars
