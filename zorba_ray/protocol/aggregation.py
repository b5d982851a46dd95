"""How scalars are aggregated, where replicas compare those of clients.

A header says the name and f. A commit says whose reports were refused: who is known to be hostile or broken is no
longer one of f unknown ones, so that a block needs fewer reports.
"""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from zorba_ray.errors import MessageError
from zorba_ray.protocol.messages import RoundCommit, Section

_NAME, _REFUSED = "aggregate", "refused"


def aggregate_section(aggregate: str, byzantine: int) -> dict[str, Section]:
    """Of a header whose replicas take `aggregate`."""
    return {_NAME: Section(1, struct.pack("<I", byzantine) + aggregate.encode(), required=True)}


def aggregate_of(sections: Mapping[str, Section]) -> tuple[str, int]:
    """(aggregate, f) that a header's sections say."""
    section = sections.get(_NAME)
    if section is None:
        return "mean", 0
    return section.content[4:].decode(), struct.unpack("<I", section.content[:4])[0]


def refused_section(clients: Sequence[int]) -> dict[str, Section]:
    """Of a commit; none where no report was refused."""
    return {_REFUSED: Section(1, np.array(clients, dtype="<u4").tobytes(), required=True)} if clients else {}


def refused_of(commit: RoundCommit, clients: int) -> np.ndarray:
    """Whose reports a commit says were refused, int64 [k].

    Args:
        clients: of the federation.

    Raises:
        MessageError: not ids of this federation.
    """
    section = commit.sections.get(_REFUSED)
    content = b"" if section is None else section.content
    if len(content) % 4:
        raise MessageError(f"{len(content)} bytes of refused clients, which take 4 bytes each")
    found = np.frombuffer(content, dtype="<u4").astype(np.int64)
    if (np.diff(found) <= 0).any() or (len(found) and found[-1] >= clients):
        raise MessageError(f"refused clients {found.tolist()[:20]} are not ascending ids of this federation")
    return found
