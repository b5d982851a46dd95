"""What activation does to a round's noise: each step of docs/theory.md against simulated rounds.

Losses are linear, so that every expected value is known; directions, projected gradients, weights and updates are those
of the program. Needs no runs.

    python -m analysis.noise_of_allocation -o docs/figures/noise_of_allocation
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.command import drawn_by, make, parser_of
from analysis.linear_rounds import Federation, equal_holders, unequal_holders, updates
from analysis.printed import SHEET_IN, letters
from analysis.rows import Row, Rows
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, objectives
from zorba_ray.assignment.variance import WEIGHTINGS, Weighting, exact_variance
from zorba_ray.report.figure import look
from zorba_ray.zo import UpdateRule, block_weights

CLIENTS, BLOCKS, SIZE = 16, 8, 64
"""N, L, d_b."""
ROUNDS = 1000
SETS = 4000
"""Random sets N_b per size, for the bias."""
RANKED = 200
"""Random allocations whose order is compared."""
RANKINGS = (
    ("4 blocks each", "equal"),
    ("1–8 each, data", "mixed"),
    ("1–8 each, inverse_noise", "mixed"),
    ("numbers drawn too", "drawn"),
)
"""Name -> numbers of blocks; where they are not drawn they are the same in all allocations, as under budgets."""
FLEETS: dict[str, list[int]] = {
    "all 2": [2] * 16,
    "8 × 1, 8 × 8": [1] * 8 + [8] * 8,
    "15 × 1, 1 × 8": [1] * 15 + [8],
}
"""Name -> blocks of every client."""


def rows(rounds: int = ROUNDS) -> Rows:
    """One row per case: what the theory expects, what was simulated, and the standard error of that."""
    found = [*_scalar(rounds), *_equal(rounds), *_unequal(rounds), *_bias(), *_descent(rounds), *_ranking()]
    return Rows(tuple(found))


def _row(step: str, case: str, x: float, expected: float | None, samples: np.ndarray, **more: float | str) -> Row:
    """`samples`: independent values whose mean is `expected`."""
    simulated = float(samples.mean())
    return {
        "step": step,
        "case": case,
        "x": x,
        "expected": expected,
        "simulated": simulated,
        "standard_error": float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else 0.0,
        "ratio": simulated / expected if expected else None,
        "n": len(samples),
        "weights": more.get("weights", "data"),
        "seeds": more.get("seeds", "per_client"),
        "worst": more.get("worst"),
    }


def _gradients(spread: float = 0.0) -> np.ndarray:
    """float64 [N, L, d]: entries ±1 common to all clients, so that g_b² = d_b, and a part of each client's own of
    standard deviation `spread` that sums to 0 over the clients."""
    rng = np.random.default_rng(0)
    common = rng.choice([-1.0, 1.0], (BLOCKS, SIZE))
    own = spread * rng.standard_normal((CLIENTS, BLOCKS, SIZE))
    return common + own - own.mean(axis=0)


def _scalar(rounds: int) -> Iterator[Row]:
    """Step 1: E‖ρ z_b‖² = d_b Σ_{c ∈ A} (g_c² + σ_c²), one client, with minibatch noise as large as the gradient."""
    for held in (1, 2, 4, 8):
        active = np.arange(BLOCKS)[None, :] < held
        moved = updates(Federation(active, _gradients()[:1], noise=1.0), rounds)[:, :held]
        yield _row("scalar", "one client", held, SIZE * held * 2 * SIZE, (moved**2).sum(axis=2).mean(axis=1))


def _noise(federation: Federation, rounds: int) -> np.ndarray:
    """float64 [rounds]: ‖update − its mean‖² per block; the mean is Σ_n w g_{n,b}, as E[z zᵀ] = 1."""
    moved = updates(federation, rounds)
    return ((moved - _mean_update(federation)) ** 2).sum(axis=2).mean(axis=1)


def _mean_update(federation: Federation) -> np.ndarray:
    """float64 [L, d]: Σ_{n ∈ N_b} w_{n,b} g_{n,b}."""
    return np.einsum("nb,nbd->bd", _weights(federation.rule, federation.active), federation.gradients)


def _weights(rule: UpdateRule, active: np.ndarray) -> np.ndarray:
    """float64 [N, L]: the program's own w_{n,b}."""
    found = np.zeros(active.shape)
    for block in range(active.shape[1]):
        holders = np.flatnonzero(active[:, block])
        found[holders, block] = block_weights(rule, holders, ActiveSets(active))
    return found


def _equal(rounds: int) -> Iterator[Row]:
    """Step 2: everybody holds k blocks. Per-client seeds do not feel k, shared seeds do."""
    for seeds, held in product(("per_client", "shared"), (1, 2, 4, 8)):
        active = equal_holders(CLIENTS, BLOCKS, held)
        noise = _noise(Federation(active, _gradients(), seeds=seeds), rounds)
        expected = _expected(active, "data") if seeds == "per_client" else _expected_shared(active)
        yield _row("equal", f"{seeds}, {held} blocks each", held, expected, noise, seeds=seeds)


def _unequal(rounds: int) -> Iterator[Row]:
    """Step 3: clients hold unequally many, with both weightings; x is the fleet's place in FLEETS."""
    for (place, (name, counts)), weights in product(enumerate(FLEETS.items()), WEIGHTINGS):
        active = unequal_holders(counts, BLOCKS)
        noise = _noise(Federation(active, _gradients(), weights), rounds)
        yield _row("unequal", name, place, _expected(active, weights), noise, weights=weights)


def _expected(active: np.ndarray, weights: Weighting) -> float:
    """Per block: the exact expression that `zorba-ray allocate` prints."""
    energies = np.full(BLOCKS, float(SIZE))
    total = exact_variance(active, np.full(len(active), 1 / len(active)), weights, np.full(BLOCKS, SIZE), 1, energies)
    return total / BLOCKS


def _expected_shared(active: np.ndarray) -> float:
    """Per block: d_b Σ_c g_c² (|N_b ∩ N_c| / N_b)²."""
    both = active.T.astype(float) @ active
    return float((SIZE * SIZE * (both / both.diagonal()[:, None]) ** 2).sum() / BLOCKS)


def _problem(active: np.ndarray) -> AllocationProblem:
    """Equal blocks, equal clients, room for everything."""
    clients, blocks = active.shape
    return AllocationProblem(np.ones(clients), np.ones((clients, blocks)), np.full(clients, blocks + 1))


def _bias() -> Iterator[Row]:
    """Step 4: ‖mean over N_b − mean over all‖² for random sets N_b; ζ_b² is the sample variance of the gradients."""
    rng = np.random.default_rng(2)
    gradients = _gradients(spread=1.0)[:, 0]  # one block
    middle = gradients.mean(axis=0)
    spread = float(((gradients - middle) ** 2).sum() / (CLIENTS - 1))
    rule = Federation(np.ones((CLIENTS, 1), dtype=bool), gradients[:, None]).rule
    for held in (1, 2, 4, 8, 12, 16):
        found = []
        for _ in range(SETS):
            active = np.zeros((CLIENTS, 1), dtype=bool)
            active[rng.permutation(CLIENTS)[:held]] = True
            off = _weights(rule, active)[:, 0] @ gradients - middle
            found.append(float(off @ off))
        samples = np.array(found) / spread
        yield _row("bias", f"{held} holders", held, 1 / held - 1 / CLIENTS, samples, worst=float(samples.max()))


def _descent(rounds: int, lr: float = 0.02) -> Iterator[Row]:
    """Step 5: the expected change of F in a round against its bound, F_n(θ) = g_n · θ + ‖θ‖²/2 (so L_s = 1)."""
    gradients = _gradients(spread=0.5)
    middle = gradients.mean(axis=0)
    for (place, (name, counts)), weights in product(enumerate(FLEETS.items()), WEIGHTINGS):
        federation = Federation(unequal_holders(counts, BLOCKS), gradients, weights)
        moved = -lr * updates(federation, rounds)
        change = (middle * moved).sum(axis=(1, 2)) + (moved**2).sum(axis=(1, 2)) / 2
        bias = float(((_mean_update(federation) - middle) ** 2).sum())
        # Client n's own energies: what its scalars carry.
        energy = (federation.active * (gradients**2).sum(axis=2)).sum(axis=1)
        variance = float(SIZE * (_weights(federation.rule, federation.active) ** 2 * energy[:, None]).sum())
        bound = -lr / 2 * float((middle**2).sum()) + lr / 2 * bias + lr**2 / 2 * variance
        yield _row("descent", name, place, bound, change, weights=weights)


def _ranking() -> Iterator[Row]:
    """Step 6: f1 (x) against the exact variance, both 1 for everything active, for random allocations."""
    rng = np.random.default_rng(3)
    everything = np.ones((CLIENTS, BLOCKS), dtype=bool)
    mixed = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
    for (name, counts), weights in zip(RANKINGS, ("data", "data", "inverse_noise", "data"), strict=True):
        drawn = 0
        while drawn < RANKED:
            held = [4] * CLIENTS if counts == "equal" else mixed if counts == "mixed" else rng.integers(1, 9, CLIENTS)
            active = np.stack([rng.permutation(BLOCKS) < count for count in held])
            if not active.any(axis=0).all():
                continue
            drawn += 1
            exact = np.array([_expected(active, weights) / _expected(everything, weights)])
            f1 = objectives.f1(active, _problem(active))
            yield _row("ranking", name, f1, None, exact, weights=weights)


def rank_correlation(found: Rows) -> float:
    """Spearman's, of `x` and `simulated`."""
    one, other = (np.argsort(np.argsort(found.column(name))) for name in ("x", "simulated"))
    return float(np.corrcoef(one, other)[0, 1])


def draw(found: Rows) -> Figure:
    """Points are simulated, lines and crosses expected."""
    figure = Figure(figsize=(SHEET_IN, 4.6), layout="constrained")
    axes = figure.subplots(2, 3)
    parts = dict(found.parts("step"))
    _lines(axes[0, 0], [("simulated", parts["scalar"])], "blocks of the client", "E‖ρ z_b‖²")
    _lines(axes[0, 1], parts["equal"].parts("seeds"), "blocks of every client, k", "variance of a block")
    _fleets(axes[0, 2], parts["unequal"], "variance of a block", "expected")
    axes[0, 2].set_ylim(bottom=0)
    worst, below = parts["bias"], axes[1, 0]
    _lines(below, [("mean over sets", worst)], "N_b", "bias² / ζ_b²")
    below.plot(worst.column("x"), worst.column("worst"), ":", color=look(1)["color"], label="worst set")
    below.set_yscale("linear")
    below.yaxis.set_major_formatter("{x:.2g}")
    below.legend()
    _fleets(axes[1, 1], parts["descent"], "change of F in a round", "bound")
    for index, (name, part) in enumerate(parts["ranking"].parts("case")):
        kind = look(index) | {"linestyle": "none", "markersize": 1.6, "alpha": 0.6}
        axes[1, 2].plot(
            part.column("x"), part.column("simulated"), label=f"{name}: {rank_correlation(part):.2f}", **kind
        )
    axes[1, 2].set(xlabel="f1", ylabel="exact variance (all active: 1)", ylim=(0.95, 2.4))
    axes[1, 2].legend(title="rank correlation", fontsize=5.5, markerscale=2, handlelength=1)
    letters(axes.ravel())
    return figure


def _lines(axes: Axes, series: Sequence[tuple[str, Rows]], x: str, y: str) -> None:
    for index, (name, part) in enumerate(series):
        _simulated(axes, part.column("x"), part, index, name)
        axes.plot(part.column("x"), part.column("expected"), color=look(index)["color"], linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    axes.set(xlabel=x, ylabel=y)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xticks(sorted(set(series[0][1].column("x").tolist())))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    if len(series) > 1:
        axes.legend()


def _fleets(axes: Axes, found: Rows, y: str, what: str) -> None:
    for index, (name, part) in enumerate(found.parts("weights")):
        places = part.column("x") + (0.14 if index else -0.14)
        _simulated(axes, places, part, index, name)
        kind: dict[str, Any] = {"color": "black", "markersize": 11, "zorder": 3}
        axes.plot(places, part.column("expected"), "_", label=what if index == 1 else None, **kind)
    names = list(dict.fromkeys(str(row["case"]) for row in found.rows))
    axes.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=6)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylabel=y, xlabel="clients × blocks each")
    axes.legend()


def _simulated(axes: Axes, x: np.ndarray, part: Rows, index: int, name: str) -> None:
    """Points with two standard errors."""
    kind: dict[str, Any] = look(index) | {"linestyle": "none", "label": name}
    axes.errorbar(x, part.column("simulated"), yerr=2 * part.column("standard_error"), **kind)


def write(found: Rows, out: Path) -> list[Path]:
    """Prints what has an expected value; OUT.pdf and OUT.png."""
    for row in found.rows:
        if row["expected"] is not None:
            figures = f"{row['expected']:>12.6g} {row['simulated']:>12.6g} ± {row['standard_error']:<10.3g}"
            print(f"{row['step']:<10} {row['case']:<24} {row['weights']:<14} {figures}")
    return drawn_by(draw)(found, out)


if __name__ == "__main__":
    raise SystemExit(make(parser_of(__doc__).parse_args().out, rows, write))
