"""Llama-3-8B on one client, batch 4 × 512, a quarter active, the frozen blocks resident in nf4: bytes, counted."""

from fractions import Fraction

from benchmarks.alternate import at_most, judged
from benchmarks.memory.vram import DEVICE
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.config.memory import StemFormat
from zorba_ray.memory.table import clients, model_profile

_GOALS: tuple[tuple[StemFormat, float], ...] = (("compute", 8.5), ("int8", 7.5))
"""Format of the stem -> GiB."""


def rows() -> list[Row]:
    """With and without a packed stem."""
    made = []
    profile = model_profile(ModelConfig(path="llama-3-8b"), "bf16", "all", 4, 512, labels=2)
    for stem, most in _GOALS:
        found = clients(profile.manifest.blocks, "all", (Fraction(1, 4),), stem)
        row = profile.row(next(client for client in found if client.label == "frozen resident in nf4"), count=True)
        assert row.counted is not None
        text = f"llama-3-8b VRAM, 4 × 512, a quarter active, nf4, resident, stem in {stem}"
        made.append(judged(text, [row.counted.total / 2**30], "GiB", at_most(most, " GiB"), DEVICE))
    return made
