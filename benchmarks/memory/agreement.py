"""The formula against the count: the largest error over four shapes, in all placements and formats."""

from fractions import Fraction

from benchmarks.alternate import at_most, judged
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.memory.table import clients, model_profile

SHAPES = (("opt-125m", 8, 256), ("llama-3-8b", 4, 512), ("qwen2.5-7b", 16, 128), ("gemma-3-1b", 4, 64))
QUICK = (("opt-125m", 16, 128),)
DEVICE = "formula against count"


def rows(quick: bool) -> list[Row]:
    """A row per shape and format of the stem."""
    made = []
    for shape, batch, length in QUICK if quick else SHAPES:
        profile = model_profile(ModelConfig(path=shape), "bf16", "all", batch, length, labels=2)
        for stem in ("compute", "int8"):
            found = clients(profile.manifest.blocks, "all", (Fraction(1, 4),), stem)
            errors = [profile.row(client, count=True).error for client in found if client.fraction]
            worst = max(100 * abs(error) for error in errors if error is not None)
            name = f"formula against count, zorba, {shape} {batch} × {length}, {len(errors)} placements, stem in {stem}"
            made.append(judged(name, [worst], "%", at_most(3, " %"), DEVICE))
    return made
