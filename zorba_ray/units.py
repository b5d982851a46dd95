"""Bytes and seconds: reads them from text, and formats them as text."""

import re

from zorba_ray.printable import shown

_FACTORS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_bytes(value: int | float | str) -> int:
    """Number of bytes, from a value such as 25769803776, "24 GiB", "24GB" or "1.5e9".

    Raises:
        ValueError: not a number with an optional unit B, KB … TB, KiB … TiB; negative; or not finite.
    """
    if isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a number of bytes; write 25769803776 or '24 GiB'")
    if isinstance(value, int):
        number, factor = (float(value) if abs(value) < 2**64 else float("inf")), 1
        exact: int | None = value
    else:
        match = re.fullmatch(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*", str(value))
        if match is None or match[2].lower() not in _FACTORS:
            raise ValueError(f"{shown(value)} is not a number of bytes; write 25769803776 or '24 GiB'")
        number, factor, exact = float(match[1]), _FACTORS[match[2].lower()], None
    if not 0 <= number * factor < float("inf"):
        raise ValueError(f"{shown(value)} is not a number of bytes: it must be finite and not negative")
    return exact if exact is not None else round(number * factor)


def format_bytes(count: int | float) -> str:
    """1536 -> '1.5 KiB'. Below 1 KiB: whole bytes."""
    size = float(count)
    if abs(size) < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if abs(size) < 1024:
            return f"{size:.4g} {unit}"
    return f"{size / 1024:.4g} TiB"


def format_seconds(seconds: float) -> str:
    """3725 -> '1 h 2 min'; 65 -> '1 min 5 s'; 1.234 -> '1.2 s'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds_left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds_left} s"
    return f"{minutes // 60} h {minutes % 60} min"
