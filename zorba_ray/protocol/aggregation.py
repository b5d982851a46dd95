"""How scalars are aggregated, in a ledger's header: name and f, where replicas compare clients' scalars."""

import struct
from collections.abc import Mapping

from zorba_ray.protocol.messages import Section

_NAME = "aggregate"


def aggregate_section(aggregate: str, byzantine: int) -> dict[str, Section]:
    """Of a header whose replicas take `aggregate`."""
    return {_NAME: Section(1, struct.pack("<I", byzantine) + aggregate.encode(), required=True)}


def aggregate_of(sections: Mapping[str, Section]) -> tuple[str, int]:
    """(aggregate, f) that a header's sections say."""
    section = sections.get(_NAME)
    if section is None:
        return "mean", 0
    return section.content[4:].decode(), struct.unpack("<I", section.content[:4])[0]
