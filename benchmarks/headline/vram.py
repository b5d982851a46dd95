"""VRAM of a client of SmolLM2-135M, 8 × 40 tokens, bf16, two label words, counted. A third of zorba's blocks is active.

The goals are for everything resident, without checkpointing, each rival as it was published: it trains the whole model.
Beside them stands the smallest placement of every method, and how far zorba is below it; a minus says that zorba holds
more. Last the rivals as they run here, where no method trains embeddings.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from benchmarks.alternate import Goal, at_least, judged
from benchmarks.rows import Row
from zorba_ray.config import DEFAULT_METHOD, LocalStep, ModelConfig
from zorba_ray.config.zo import FixedScope
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.memory.table import ModelProfile, ProfiledClient, clients, model_profile

SHAPE, BATCH, LENGTH, LABELS = "smollm2-135m", 8, 40, 2
DEVICE = "counted, nothing allocated"
THIRD, ALL = Fraction(1, 3), Fraction(1)
FORMATS = ("compute", "int8", "nf4")
_QLORA = "FedIT: LoRA r 16 + AdamW, nf4"
_BACKPROP, _FORTY = at_least(62.41, " %"), at_least(40, " %")
GOALS: dict[str, Goal] = {
    "full backprop, AdamW": _BACKPROP, "full backprop, SGD": _BACKPROP, _QLORA: _FORTY, "MeZO": _FORTY,
    "DeComFL, stored z": _FORTY, "DeComFL, per tensor": _FORTY, "FedKSeed, 4096 seeds": _FORTY,
}  # fmt: skip
"""Label of a rival -> how far below it zorba's bytes with nf4 are to be."""


def rows(quick: bool) -> list[Row]:
    """Quick: only what a goal needs."""
    profile = model_profile(ModelConfig(path=SHAPE), "bf16", "all", BATCH, LENGTH, LABELS)
    scopes: tuple[FixedScope, ...] = ("all",) if quick else ("all", "matrices", "norm_weights")
    ours: dict[FixedScope, dict[str, int]] = {scope: {} for scope in scopes}
    made = []
    for scope, counts in ours.items():
        for format in ("nf4",) if quick else FORMATS:
            name = "frozen resident" if format == "compute" else f"frozen resident in {format}"
            counts[format] = _counted(profile, _zorba(profile, scope, name))
            made.append(_held(f"zorba, a third active, scope {scope}, {name}", counts[format]))
    rivals: dict[ProfiledClient, int] = {}
    for client in clients(profile.manifest.blocks, "all", (THIRD,)):
        if client.method != DEFAULT_METHOD and (not quick or client.label in GOALS):
            rivals[client] = _counted(profile, client)
            made.append(_held(client.label, rivals[client]))
    for scope, counts in ours.items():
        for format, held in counts.items():
            for client, theirs in rivals.items():
                goal = GOALS.get(client.label) if (scope, format) == ("all", "nf4") else None
                if client.label in GOALS:
                    made.append(
                        _below(f"zorba in {format}, scope {scope}, resident: below {client.label}", held, theirs, goal)
                    )
    return made if quick else [*made, *_smallest(profile, ours["all"]["nf4"], rivals), *_as_run(profile, ours["all"])]


def _smallest(profile: ModelProfile, resident: int, rivals: dict[ProfiledClient, int]) -> Iterator[Row]:
    """The smallest placement of each method. Methods of forward passes on the whole model can stream it, as ZO2
    does."""
    everything = next(c for c in clients(profile.manifest.blocks, "all", (ALL,)) if c.label == "all streamed")
    streamed = _counted(profile, everything)
    packed = _counted(profile, _zorba(profile, "all", "frozen streamed in nf4"))
    yield _held("zorba, a third active, frozen streamed in nf4", packed)
    yield _held("all blocks streamed and perturbed, one after another", streamed)
    for method in dict.fromkeys(client.method for client in rivals):
        named = {client.label: held for client, held in rivals.items() if client.method == method}
        steps = [client.step for client in rivals if client.method == method]
        if any(isinstance(step, LocalStep) and not step.backward and not step.rank for step in steps):
            named["streamed"] = streamed
        least = min(named, key=named.__getitem__)
        for text, held in (
            ("resident in nf4", resident),
            ("frozen streamed in nf4", packed),
            ("all streamed", streamed),
        ):
            yield _below(f"zorba {text}: below the smallest placement of {method} ({least})", held, named[least], None)


def _as_run(profile: ModelProfile, ours: dict[str, int]) -> Iterator[Row]:
    """Forward-only rivals that train the blocks alone, as every method does in a run here."""
    step = LocalStep(scope="all")
    held = _counted(profile, ProfiledClient("mezo", "blocks alone", step))
    yield _held("MeZO, DeComFL per tensor, FedKSeed, blocks alone", held)
    for format, own in ours.items():
        yield _below(f"zorba in {format}, resident: below MeZO, DeComFL, FedKSeed, blocks alone", own, held, None)


def _zorba(profile: ModelProfile, scope: FixedScope, label: str) -> ProfiledClient:
    found = clients(profile.manifest.blocks, scope, (THIRD,))
    return next(client for client in found if client.label == label and isinstance(client.step, PairedStep))


def _counted(profile: ModelProfile, client: ProfiledClient) -> int:
    row = replace(profile, scope=client.step.scope or "all").row(client, count=True)
    assert row.counted is not None
    return row.counted.total


def _held(name: str, held: int) -> Row:
    return judged(f"{SHAPE} VRAM, {BATCH} × {LENGTH}, {name}", [held / 2**20], "MiB", None, DEVICE)


def _below(name: str, ours: int, theirs: int, goal: Goal | None) -> Row:
    return judged(f"{SHAPE} VRAM, {name}", [100 * (1 - ours / theirs)], "%", goal, DEVICE)
