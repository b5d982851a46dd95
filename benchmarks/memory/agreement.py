"""The formula against the count: the largest error over three shapes, all placements and shares of active blocks."""

from benchmarks.alternate import at_most, judged
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.memory.table import FRACTIONS, clients, model_profile

SHAPES = (("opt-125m", 8, 256), ("llama-3-8b", 4, 512), ("qwen2.5-7b", 16, 128))
QUICK = (("opt-125m", 16, 128),)
DEVICE = "formula against count"


def rows(quick: bool) -> list[Row]:
    """A row per shape."""
    made = []
    for shape, batch, length in QUICK if quick else SHAPES:
        profile = model_profile(ModelConfig(path=shape), "bf16", "all", batch, length, labels=2)
        wanted = [client for client in clients(profile.manifest.blocks, "all", FRACTIONS[1::2]) if client.fraction]
        errors = [profile.row(client, count=True).error for client in wanted]
        worst = max(100 * abs(error) for error in errors if error is not None)
        name = f"formula against count, zorba, {shape} {batch} × {length}"
        made.append(judged(name, [worst], "%", at_most(3, " %"), DEVICE))
    return made
