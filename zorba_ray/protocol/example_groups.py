"""Groups of examples in messages and in the ledger, where each has a direction and a scalar of its own.

The header says how many groups a full batch has, G. A report has the scalars of each step pair by pair, and of each
pair group by group: P · G_k for a batch of G_k groups. Only where a batch is not full, a section says the G_k of every
step. A commit has the reports one after another, and a section with the G_k of all of them, or none.
"""

import struct
from collections.abc import Mapping

import numpy as np

from zorba_ray.errors import MessageError
from zorba_ray.protocol.messages import ClientReport, RoundCommit, Section

_NAME = "example_groups"


def groups_section(groups: int) -> dict[str, Section]:
    """Of a header: G; no section where a batch has one direction."""
    return {_NAME: Section(1, struct.pack("<I", groups), required=True)} if groups else {}


def groups_of(sections: Mapping[str, Section]) -> int:
    """What a header's sections say: G, or 0."""
    section = sections.get(_NAME)
    return 0 if section is None else struct.unpack("<I", section.content)[0]


def counts_section(counts: np.ndarray, full: int) -> dict[str, Section]:
    """Of a report or commit: G_k of every step (int64, client by client); no section where all batches are full."""
    if (counts == full).all():
        return {}
    return {_NAME: Section(1, counts.astype("<u4").tobytes(), required=True)}


def counts_of(message: ClientReport | RoundCommit, steps: int, full: int) -> np.ndarray:
    """G_k of every step, int64 [steps].

    Args:
        steps: of all clients.
        full: G.

    Raises:
        MessageError: not one number for each step, or more groups than a full batch has.
    """
    section = message.sections.get(_NAME)
    if section is None:
        return np.full(steps, full, dtype=np.int64)
    if len(section.content) != 4 * steps:
        raise MessageError(f"{len(section.content)} bytes of groups for {steps} steps, which take 4 bytes each")
    counts = np.frombuffer(section.content, dtype="<u4").astype(np.int64)
    if counts.min(initial=1) < 1 or counts.max(initial=1) > full:
        raise MessageError(f"groups {counts.tolist()}: a batch has 1 to {full}")
    return counts


def compact(scalars: np.ndarray, counts: np.ndarray, pairs: int) -> bytes:
    """The scalars that are sent: fp32.

    Args:
        scalars: float32 [K, P · G].
        counts: G_k of each step.
        pairs: P.
    """
    steps = scalars.reshape(len(scalars), pairs, -1)
    return b"".join(step[:, :count].astype("<f4").tobytes() for step, count in zip(steps, counts, strict=True))


def padded(values: np.ndarray, counts: np.ndarray, pairs: int, full: int) -> np.ndarray:
    """float32 [steps, P · G] of the scalars that were sent; NaN for groups that a batch lacks.

    Raises:
        MessageError: not P · G_k scalars for each step.
    """
    if len(values) != pairs * int(counts.sum()):
        raise MessageError(f"{len(values)} scalars, {pairs * int(counts.sum())} expected")
    there = np.arange(full) < counts[:, None, None]  # [steps, 1, G]
    scalars = np.full((len(counts), pairs, full), np.nan, dtype=np.float32)
    scalars[np.broadcast_to(there, scalars.shape)] = values
    return scalars.reshape(len(counts), -1)
