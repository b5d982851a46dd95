"""Runs the block probe: sends a plan to the clients, reads their scalars, and computes the estimates."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.artifacts.allocation import BlockProbe
from zorba_ray.assignment.fleet import Client
from zorba_ray.assignment.problem import AssignmentInputs
from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.federation import Answer, read_replies
from zorba_ray.methods.base import require_size
from zorba_ray.protocol.messages import ProbePlan, ProbeReport, decode, encode, frame_digest
from zorba_ray.stopwatch import UNWATCHED, Watch
from zorba_ray.zo import block_energies, probe_weights

Ask = Callable[[bytes, Sequence[int]], Mapping[int, Answer]]
"""As `Backend.ask`."""


def run_probe(
    inputs: AssignmentInputs, fleet: Sequence[Client], number: int, chain: bytes, ask: Ask, watch: Watch = UNWATCHED
) -> BlockProbe:
    """Runs the probe before round `number` on all clients that are present and have memory for a block. θ stays as it
    is.

    Args:
        chain: of the ledger; every replica must be at it.
        watch: the driver's; the time of the probe is added to the part `ask`, like that of a round.

    Raises:
        LostClients: fewer valid answers than `federation.quorum`; names the clients that failed and the reasons.
    """
    config = inputs.config
    probed = _probed(inputs, fleet)
    asked = np.flatnonzero(probed.counts).tolist()
    scale, pairs = config.zo.perturbation_scale, config.allocation.probe_pairs
    blocks = None if probed.matrix[asked].all() else probed.packed
    plan = ProbePlan(number, pairs, scale, chain[:8], blocks)
    frame = encode(plan)
    digest = frame_digest(frame)
    with watch.part("ask"):
        answers = ask(frame, asked)
    replies = read_replies(
        asked, answers, lambda client, answer: _scalars(answer, client, digest, plan, probed.matrix[client])
    )
    replies.require_quorum(f"probe before round {number}", config.federation.quorum)
    scalars = replies.accepted
    samples = np.array([inputs.samples[client] for client in scalars], dtype=np.float64)
    energies = block_energies(np.stack(list(scalars.values())), samples)
    return BlockProbe(
        round=number,
        energy=tuple(energies.energy.tolist()),
        dissimilarity=tuple(energies.dissimilarity.tolist()),
        dissimilarity_error=tuple(energies.dissimilarity_error.tolist()),
        noise=tuple(energies.noise.tolist()),
        weights=tuple(probe_weights(energies).tolist()),
        pairs=pairs,
        forward_pairs=2 * pairs * int(probed.counts[list(scalars)].sum()),
        clients=len(scalars),
        bytes_up=sum(len(answer) for answer in replies.frames),
        bytes_down=len(frame) * len(asked),
    )


def _probed(inputs: AssignmentInputs, fleet: Sequence[Client]) -> ActiveSets:
    """The blocks that fit each client's budget one at a time. An absent client has none."""
    room = np.zeros((len(fleet), inputs.header.blocks), dtype=bool)
    for client in fleet:
        if client.present:
            memory = inputs.memory.of(client.budget)
            room[client.id] = client.budget is None or memory.base + memory.active_extra <= client.budget
    return ActiveSets(room)


def _scalars(answer: bytes, client: int, digest: bytes, plan: ProbePlan, probed: np.ndarray) -> np.ndarray:
    """The scalars of a report, float64 [2, L, pairs]; NaN for blocks that the client did not probe (`probed`: bool
    [L]).

    Raises:
        MessageError, ReportRejected: names the reason.
    """
    report = decode(answer, ProbeReport)
    if (report.round, report.client, report.plan) != (plan.round, client, digest):
        raise ReportRejected(f"from client {report.client} for round {report.round}, or an answer to another plan")
    shape = (2, int(probed.sum()), plan.pairs)
    expected = 4 * shape[0] * shape[1] * shape[2]
    if len(report.scalars) != expected:
        raise ReportRejected(f"{len(report.scalars)} bytes of scalars, {expected} expected")
    reported = np.frombuffer(report.scalars, dtype="<f4").reshape(shape)
    if not np.isfinite(reported).all():
        raise NotFinite("a scalar is not finite")
    require_size(reported, plan.perturbation_scale)
    scalars = np.full((2, len(probed), plan.pairs), np.nan)
    scalars[:, probed] = reported
    return scalars
