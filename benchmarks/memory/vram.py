"""VRAM of one client of OPT-1.3B, batch 16 × 128, bf16, label words, counted: zorba by placement and share of active
blocks, and every other method in its placements. Beside each row's bytes stands the round's time, which is arithmetic.
"""

from collections.abc import Callable
from fractions import Fraction

from benchmarks.alternate import Goal, at_least, at_most, judged
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.memory.round_time import ACCELERATOR
from zorba_ray.memory.table import FRACTIONS, ProfiledClient, clients, model_profile

SHAPE, BATCH, LENGTH, LABELS = "opt-1.3b", 16, 128, 2
DEVICE = "counted, nothing allocated"
TIME = f"modelled, {ACCELERATOR}"
QUARTER, EIGHTH = Fraction(1, 4), Fraction(1, 8)
_FEDIT = "FedIT: LoRA r 16 + AdamW"
PLAIN = ("MeZO", "DeComFL, stored z", "DeComFL, per tensor", "FedKSeed, 4096 seeds")
"""Methods of forward passes that hold the whole model in 16 bits."""
BACKPROP = ("full backprop, SGD", "full backprop, AdamW")

Name = tuple[str, Fraction | None]
"""Label of a client, and its share of active blocks."""


def rows(quick: bool) -> list[Row]:
    """The table, and what of it has a goal. Quick: only what a goal needs."""
    profile = model_profile(ModelConfig(path=SHAPE), "bf16", "all", BATCH, LENGTH, LABELS)
    comparisons = [*_below(), *_times()]
    needed = {name for _, ours, others, *_ in comparisons for name in (ours, *others)}
    counts: dict[Name, int] = {}
    seconds: dict[Name, float] = {}
    made = []
    for client in clients(profile.manifest.blocks, "all", FRACTIONS):
        name = (client.label, client.fraction)
        if quick and name not in needed:
            continue
        row = profile.row(client, count=True)
        assert row.counted is not None
        counts[name], seconds[name] = row.counted.total, row.seconds
        made.append(judged(f"{SHAPE} VRAM, {_text(client)}", [counts[name] / 2**30], "GiB", None, DEVICE))
        made.append(judged(f"{SHAPE} round, {_text(client)}", [1000 * row.seconds], "ms", None, TIME))
    for what, ours, others, goal, value in comparisons:
        figures = seconds if value is _ratio_of_times else counts
        for other in others:
            unit, device = ("%", DEVICE) if value is _percent_below else ("×", TIME if figures is seconds else DEVICE)
            found = value(figures[ours], figures[other])
            made.append(judged(f"{SHAPE}, {what} {other[0]}", [found], unit, goal, device))
    return made


Comparison = tuple[str, Name, tuple[Name, ...], Goal | None, Callable[[float, float], float]]


def _below() -> list[Comparison]:
    """A quarter active and everything resident, beside other methods."""
    made: list[Comparison] = []
    for format, least in (("nf4", 45), ("int8", 28)):
        ours, text = (f"frozen resident in {format}", QUARTER), f"a quarter active, {format}, resident: below"
        made.append((text, ours, tuple((label, None) for label in PLAIN), at_least(least, " %"), _percent_below))
    ours, text = ("frozen resident in nf4", QUARTER), "a quarter active, nf4, resident: below"
    made.append((text, ours, tuple((label, None) for label in BACKPROP), at_least(62.41, " %"), _percent_below))
    made.append((text, ours, ((f"{_FEDIT}, nf4", None),), at_least(50, " %"), _percent_below))
    made.append((text, ours, ((f"{_FEDIT}, nf4, checkpointed", None),), None, _percent_below))
    return made


def _times() -> list[Comparison]:
    """The price in time, and streaming beside streaming everything."""
    made: list[Comparison] = []
    for format in ("nf4", "int8"):
        resident, text = (f"frozen resident in {format}", QUARTER), f"a quarter active, {format}, resident: time over"
        made.append((text, resident, (("frozen resident", QUARTER),), at_most(1.1, " ×"), _ratio_of_times))
        streamed, text = (f"frozen streamed in {format}", EIGHTH), f"an eighth active, the rest streamed in {format}:"
        everything = (("all streamed", Fraction(1)),)
        made.append((f"{text} bytes over", streamed, everything, at_most(1.4, " ×"), _ratio))
        made.append((f"{text} time over", streamed, everything, at_most(0.75, " ×"), _ratio_of_times))
    return made


def _percent_below(ours: float, other: float) -> float:
    return 100 * (1 - ours / other)


def _ratio(ours: float, other: float) -> float:
    return ours / other


def _ratio_of_times(ours: float, other: float) -> float:
    return ours / other


def _text(client: ProfiledClient) -> str:
    """Method, or placement and share."""
    return client.label if client.fraction is None else f"zorba {client.label}, {client.fraction} active"
