"""VRAM of one client of OPT-1.3B, batch 16 × 128, bf16, label words, counted: zorba by policy and share of active
blocks, and every other method. Beside each row's bytes stands the round's time, which is arithmetic.
"""

from fractions import Fraction

from benchmarks.alternate import at_least, judged
from benchmarks.rows import Row
from zorba_ray.config import ModelConfig
from zorba_ray.memory.method import ADAMW, DECOMFL, DECOMFL_BATCH, LORA, MEZO, SGD, ZORBA
from zorba_ray.memory.policy import Policy
from zorba_ray.memory.round_time import RTX_4090
from zorba_ray.memory.table import FRACTIONS, clients, model_profile
from zorba_ray.memory.table import Row as ClientRow

SHAPE, BATCH, LENGTH, LABELS = "opt-1.3b", 16, 128, 2
DEVICE = "counted, nothing allocated"
OURS = (Policy("host", "host"), Fraction(1, 4))
GOALS = {SGD: 62.41, ADAMW: 62.41, LORA: 62.41, MEZO: 50.0, DECOMFL: 50.0, DECOMFL_BATCH: 50.0}
"""Method -> percent that zorba with a quarter of the blocks active, frozen and master on the host, is to stay below."""


def rows(quick: bool) -> list[Row]:
    """The table, and what of it has a goal."""
    profile = model_profile(ModelConfig(path=SHAPE), "bf16", "all", BATCH, LENGTH, LABELS)
    wanted = [
        (client, fraction)
        for client, fraction in clients(profile.manifest.blocks, "all", FRACTIONS)
        if not quick or client.method in GOALS or (client.policy, fraction) == OURS
    ]
    found = [profile.row(client, fraction, count=True) for client, fraction in wanted]
    made = []
    for row in found:
        assert row.counted is not None
        name = label(row)
        made.append(judged(f"{SHAPE} VRAM, {name}", [row.counted.total / 1e9], "GB", None, DEVICE))
        made.append(judged(f"{SHAPE} round, {name}", [1000 * row.seconds], "ms", None, f"modelled, {RTX_4090.name}"))
    ours = next(row for row in found if row.client.method == ZORBA and (row.client.policy, row.fraction) == OURS)
    for row in found:
        if row.client.method in GOALS:
            assert ours.counted is not None
            assert row.counted is not None
            less = 100 * (1 - ours.counted.total / row.counted.total)
            goal = at_least(GOALS[row.client.method], " %")
            made.append(judged(f"{SHAPE}, {label(ours)}: below {label(row)}", [less], "%", goal, DEVICE))
    return made


def label(row: ClientRow) -> str:
    """Method, or policy and share."""
    if row.client.method != ZORBA:
        return row.client.method.label
    return f"zorba {row.client.policy.label}, {row.fraction} active"
