"""The formula against the count: the largest error of each method over three shapes, and zorba's over all policies and
shares of active blocks."""

from benchmarks.alternate import at_most, judged
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.memory.method import METHODS, Method
from zorba_ray.memory.table import FRACTIONS, clients, model_profile

SHAPES = (("opt-125m", 8, 256), ("llama-3-8b", 4, 512), ("qwen2.5-7b", 16, 128))
QUICK = (("opt-125m", 16, 128),)
DEVICE = "formula against count"


def rows(quick: bool) -> list[Row]:
    """A row per method and shape."""
    made = []
    for shape, batch, length in QUICK if quick else SHAPES:
        profile = model_profile(ModelConfig(path=shape), "bf16", "all", batch, length, labels=2)
        errors: dict[Method, list[float]] = {method: [] for method in METHODS}
        for client, fraction in clients(profile.manifest.blocks, "all", FRACTIONS[1::2]):
            error = profile.row(client, fraction, count=True).error
            assert error is not None
            errors[client.method].append(100 * abs(error))
        for method, own in errors.items():
            name = f"formula against count, {method.label}, {shape} {batch} × {length}"
            made.append(judged(name, [max(own)], "%", at_most(3, " %"), DEVICE))
    return made
