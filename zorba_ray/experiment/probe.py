"""The probe of the blocks as a question to the clients: a plan out, scalars back, estimates from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.experiment.build import Setup, build_host
from zorba_ray.experiment.fleet import Client
from zorba_ray.federation import Answer, read_replies
from zorba_ray.methods.base.plausible import require_size
from zorba_ray.protocol.messages import ProbePlan, ProbeReport, decode, encode, frame_digest
from zorba_ray.stopwatch import UNWATCHED, Watch
from zorba_ray.zo import BlockEnergies, block_energies, probe_weights

Ask = Callable[[bytes, Sequence[int]], Mapping[int, Answer]]
"""As `Backend.ask`."""


@dataclass(frozen=True)
class Probe:
    """What the clients said of the blocks, and what it cost."""

    round: int
    """The round that it came before."""
    energies: BlockEnergies
    pairs: int
    """Forward pairs per client, block and batch."""
    forward_pairs: int
    """Forward pairs of all clients together; frozen prefixes are shared, so each costs less than two forwards."""
    clients: int
    """Whose answers were used."""
    bytes_up: int
    """All reports' frames."""
    bytes_down: int
    """The plan's frame, to each client asked."""

    def record(self) -> dict[str, Any]:
        """For allocation.json; lists are by block."""
        return {
            "round": self.round,
            "energy": self.energies.energy.tolist(),
            "dissimilarity": self.energies.dissimilarity.tolist(),
            "dissimilarity_error": self.energies.dissimilarity_error.tolist(),
            "noise": self.energies.noise.tolist(),
            "weights": probe_weights(self.energies).tolist(),
            "pairs": self.pairs,
            "forward_pairs": self.forward_pairs,
            "clients": self.clients,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Probe":
        """The inverse of `record`."""
        names = ("energy", "dissimilarity", "noise", "dissimilarity_error")
        energies = BlockEnergies(*(np.array(record[name], dtype=np.float64) for name in names))
        counts = ("pairs", "forward_pairs", "clients", "bytes_up", "bytes_down")
        return cls(record["round"], energies, *(record[name] for name in counts))


def run_probe(
    setup: Setup, fleet: Sequence[Client], number: int, chain: bytes, ask: Ask, watch: Watch = UNWATCHED
) -> Probe:
    """Asks all clients that are present, and have room for a block, before round `number`; θ does not move.

    Args:
        chain: of the ledger, where every replica must be.
        watch: the driver's; the asking is the part `ask`, as a round's is.

    Raises:
        LostClients: fewer good answers than `federation.quorum`; names who failed and why.
    """
    config, blocks = setup.config, setup.header.blocks
    room = [_fitting(setup, client) for client in fleet]
    asked = [client.id for client in fleet if room[client.id]]
    everything = all(len(room[client]) == blocks for client in asked)
    plan = ProbePlan(
        number,
        config.allocation.probe_pairs,
        config.zo.perturbation_scale,
        chain[:8],
        None if everything else ActiveSets.of_sets(room, blocks).packed,
    )
    frame = encode(plan)
    digest = frame_digest(frame)
    with watch.part("ask"):
        answers = ask(frame, asked)
    replies = read_replies(
        asked,
        answers,
        lambda client, answer: _scalars(answer, client, digest, plan, sorted(room[client]), blocks),
    )
    replies.require_quorum(f"probe before round {number}", config.federation.quorum)
    scalars = replies.accepted
    energies = block_energies(
        np.stack(list(scalars.values())), np.array([setup.samples[client] for client in scalars], dtype=np.float64)
    )
    pairs = sum(2 * plan.pairs * len(room[client]) for client in scalars)
    bytes_up = sum(len(answer) for answer in replies.frames)
    return Probe(number, energies, plan.pairs, pairs, len(scalars), bytes_up, len(frame) * len(asked))


def probe_here(setup: Setup) -> Probe:
    """The probe before round 1 with all clients in this process: the numbers that a run would have."""
    host = build_host(setup.config, setup.header, setup.model)
    host.load_shards(setup.shards)
    return run_probe(setup, setup.fleet, 1, host.state.chain, host.answer)


def _fitting(setup: Setup, client: Client) -> frozenset[int]:
    """Blocks that the client has room for, one at a time."""
    if not client.present:
        return frozenset()
    blocks = range(setup.header.blocks)
    if client.budget is None:
        return frozenset(blocks)
    memory = setup.memory.of(client.budget)
    return frozenset(block for block in blocks if memory.bytes_of(frozenset({block})) <= client.budget)


def _scalars(
    answer: bytes, client: int, digest: bytes, plan: ProbePlan, probed: Sequence[int], blocks: int
) -> np.ndarray:
    """float64 [2, L, pairs] of a report, NaN where the client did not probe.

    Raises:
        MessageError, ReportRejected: with the reason.
    """
    report = decode(answer, ProbeReport)
    if (report.round, report.client, report.plan) != (plan.round, client, digest):
        raise ReportRejected(f"of client {report.client} for round {report.round}, or to another plan")
    shape = (2, len(probed), plan.pairs)
    if len(report.scalars) != 4 * 2 * len(probed) * plan.pairs:
        raise ReportRejected(f"{len(report.scalars)} bytes of scalars, {4 * shape[0] * shape[1] * shape[2]} expected")
    scalars = np.frombuffer(report.scalars, dtype="<f4").reshape(shape)
    if not np.isfinite(scalars).all():
        raise NotFinite("a scalar is not finite")
    require_size(scalars, plan.perturbation_scale)
    found = np.full((2, blocks, plan.pairs), np.nan)
    found[:, list(probed)] = scalars
    return found
