"""Tables of a run whose blocks were dealt anew or probed."""

import numpy as np

from zorba_ray.artifacts import Run
from zorba_ray.report.numbers import NONE, text_bytes, text_gap, text_value
from zorba_ray.report.page import Table

_REASONS = {
    "start": "start of the run",
    "provisional": "until the probe",
    "probe": "probe of the blocks",
    "rotation": "rotation",
    "fleet changed": "the fleet changed",
}


def deals_table(run: Run) -> Table | None:
    """When the blocks were dealt and why; None where they were dealt once."""
    deals = run.allocation.assignments
    if len(deals) < 2:
        return None
    rows = [
        [
            str(deal.round), _REASONS.get(deal.reason, deal.reason), str(deal.clients_changed),
            "∞" if deal.f1 is None else f"{deal.f1:.6g}", text_bytes(deal.f2_bytes), text_gap(deal.gap),
        ]
        for deal in deals
    ]  # fmt: skip
    columns = ["From round", "Why", "Clients that changed", "f1", "Fleet VRAM", "Gap"]
    note = "A rotation keeps f1 and the bytes. f1 of different fleets, or under other weights, does not compare."
    return Table("Deals of the blocks", columns, rows, frozenset({0, 2, 3, 4, 5}), note)


def blocks_table(run: Run) -> Table | None:
    """What each block met: clients, and what the last probe found; None where there was one deal and no probe."""
    deals, probe = run.allocation.assignments, run.allocation.probe
    if len(deals) < 2 and probe is None:
        return None
    rows = []
    for block in range(run.allocation.blocks):
        held = np.array([deal.active.matrix[:, block] for deal in deals])
        now, ever = (int(held[-1].sum()), int(held.any(axis=0).sum())) if deals else (0, 0)
        found = [NONE] * 4
        if probe is not None:
            error = probe.dissimilarity_error[block]
            spread = f"{probe.dissimilarity[block]:.3g} ± {error:.2g}"
            found = [text_value(probe.energy[block]), spread, text_value(probe.noise[block])]
            found.append(f"{probe.weights[block]:.3g}")
        rows.append([str(block), str(now), str(ever), *found])
    columns = ["Block", "Active on", "Held so far by", "g²", "ζ² between clients", "σ² of a batch", "ω"]
    note = "Clients that hold a block now, and that held it in some deal."
    if probe is not None:
        note += (
            f" Estimates of the probe before round {probe.round}: {probe.pairs} forward pairs per client, block and "
            f"batch ({probe.forward_pairs:,} in all), {text_bytes(probe.bytes_up)} up, {text_bytes(probe.bytes_down)} "
            "down; ± is one standard error."
        )
    return Table("Blocks", columns, rows, frozenset(range(7)), note)
