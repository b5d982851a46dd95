"""Packed formats of frozen matrices: int8 by row, and nf4 by block; deterministic, the same bytes on every device."""

from zorba_ray.config.memory import Format
from zorba_ray.formats.packing import pack_into, packed, round_trip, unpack_into, unpack_rows
from zorba_ray.formats.sizes import ALIGNMENT, PackedFormat, aligned, slab

__all__ = [
    "ALIGNMENT",
    "Format",
    "PackedFormat",
    "aligned",
    "pack_into",
    "packed",
    "round_trip",
    "slab",
    "unpack_into",
    "unpack_rows",
]
