"""VRAM of one client of OPT-1.3B, batch 16 × 128, bf16, label words, counted: zorba by policy and share of active
blocks, and every other method. Beside each row's bytes stands the round's time, which is arithmetic.
"""

from fractions import Fraction

from benchmarks.alternate import at_least, judged
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.memory.table import ACCELERATOR, FRACTIONS, ProfiledClient, clients, model_profile

SHAPE, BATCH, LENGTH, LABELS = "opt-1.3b", 16, 128, 2
DEVICE = "counted, nothing allocated"
OURS = ("frozen host, master host", Fraction(1, 4))
GOALS = {"fedavg": 62.41, "fedit": 62.41, "mezo": 50.0, "decomfl": 50.0}
"""Method -> percent that zorba with a quarter of the blocks active, frozen and master on the host, is to stay below."""


def rows(quick: bool) -> list[Row]:
    """The table, and what of it has a goal."""
    profile = model_profile(ModelConfig(path=SHAPE), "bf16", "all", BATCH, LENGTH, LABELS)
    wanted = [
        client
        for client in clients(profile.manifest.blocks, "all", FRACTIONS)
        if not quick or client.method in GOALS or (client.label, client.fraction) == OURS
    ]
    counts, made = {}, []
    for client in wanted:
        row = profile.row(client, count=True)
        assert row.counted is not None
        counts[client] = row.counted.total
        made.append(judged(f"{SHAPE} VRAM, {name(client)}", [counts[client] / 1e9], "GB", None, DEVICE))
        seconds = [1000 * row.seconds]
        made.append(judged(f"{SHAPE} round, {name(client)}", seconds, "ms", None, f"modelled, {ACCELERATOR}"))
    ours = next(client for client in counts if (client.label, client.fraction) == OURS)
    for client, size in counts.items():
        if client.method in GOALS:
            less = 100 * (1 - counts[ours] / size)
            goal = at_least(GOALS[client.method], " %")
            made.append(judged(f"{SHAPE}, {name(ours)}: below {name(client)}", [less], "%", goal, DEVICE))
    return made


def name(client: ProfiledClient) -> str:
    """Method, or placement and share."""
    return client.label if client.fraction is None else f"zorba {client.label}, {client.fraction} active"
