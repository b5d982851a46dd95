"""A plausible comparison, written without running anything. Imports neither torch nor Ray."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

from zorba_ray.config import load_config
from zorba_ray.contest.records import Cell, Contest, Contestant, Estimate, Outcome, Point, Reached, Try

METHODS = ("zorba", "fedavg", "fedit", "fedmezo", "decomfl", "fedkseed", "mezo")


def write_fake_contest(
    path: Path, *, name: str = "fake", methods: tuple[str, ...] = METHODS, seeds: int = 3, diverged: str = "fedkseed",
    error: str = "Diverged: round 7: the validation loss is nan",
) -> Path:  # fmt: skip
    """Seven methods by default, the last seed of `diverged` diverged. Returns `path`."""
    path.mkdir(parents=True)
    base = load_config("demo").resolved()
    state = Contest(
        name=name,
        status="finished",
        command=["zorba-ray", "compare", "demo"],
        started="2026-11-27T12:00:00+0000",
        wall_s=321.5,
        settings={"methods": list(methods), "seeds": seeds, "tuning": True, "tuning_share": 0.25, "targets": []},
        base=base,
        tuning_seed=0,
        participants=4,
        largest_budget_bytes=40_000_000,
        targets=[1.2, 1.0, 0.8],
    )
    for place, method in enumerate(methods):
        central = method == "mezo"
        rounds = 10 * (place + 1)
        tries = [
            Try(rate=rate, run=f"{method}/rate-{rate:g}", status="finished", rounds=2, loss=1.0 + rate)
            for rate in (1e-4, 3e-4, 9e-4)
        ]
        state.contestants.append(
            Contestant(
                method=method, passes_per_round=4, budget=4 * rounds + 1, rounds=rounds, left_over=1, every=rounds // 5,
                central=central, backward=method in ("fedavg", "fedit"), rates=(1e-4, 3e-4, 9e-4), rate=1e-4,
                at_end=True, tries=tries, settings={"zo.scope": "all"},
            )
        )  # fmt: skip
    for seed in range(1, seeds + 1):
        for method in methods:
            gone = method == diverged and seed == seeds
            cell = Cell(
                method=method, seed=seed, run=f"{method}/seed-{seed}", status="finished", weights_sha256="ab" * 32
            )
            if gone:
                cell.status, cell.round, cell.error = "diverged", 7, error
            state.cells.append(cell)
    state.outcomes = [_outcome(state, place, one) for place, one in enumerate(state.contestants)]
    text = json.dumps(state.model_dump(mode="json"))
    (path / "compare.json").write_text(text, encoding="utf-8")
    return path


def _outcome(state: Contest, place: int, one: Contestant) -> Outcome:
    chance = random.Random(place)
    seeds = [cell.seed for cell in state.cells_of(one.method, "finished")]

    def figure(middle: float, spread: float) -> Estimate:
        values = {seed: middle + chance.gauss(0, spread) for seed in seeds}
        half = spread if len(seeds) > 1 else None
        return Estimate(values=values, mean=fmean(values.values()), half=half)

    end = 0.7 + 0.05 * place
    figures: dict[str, Any] = {
        "start_loss": figure(1.3, 0.0),
        "start_accuracy": figure(0.5, 0.0),
        "start_test_accuracy": figure(0.5, 0.0),
        "final_loss": figure(end, 0.02),
        "best_loss": figure(end - 0.01, 0.02),
        "final_accuracy": figure(0.9 - 0.03 * place, 0.01),
        "best_accuracy": figure(0.91 - 0.03 * place, 0.01),
        "test_loss": figure(end + 0.05, 0.02),
        "test_accuracy": figure(0.88 - 0.03 * place, 0.01),
        "cpu_s": figure(12.0 + place, 0.5),
    }
    moved = None if one.central else 10.0 ** (3 + place)
    if moved is not None:
        figures |= {name: figure(moved / 2, 0.0) for name in ("bytes_up", "bytes_down")}
        figures |= {f"bytes_{way}_per_round": figure(moved / 2 / one.rounds, 0.0) for way in ("up", "down")}
    differences = {}
    if place:
        differences = {name: figure(0.05 * place, 0.03) for name in ("final_loss", "best_loss", "test_loss")}
        differences |= {name: figure(-0.03 * place, 0.02) for name in ("final_accuracy", "test_accuracy")}
    curve = [
        Point(
            round=number, passes=4.0 * number, bytes=None if moved is None else moved * number / one.rounds,
            cpu_s=12.0 * number / one.rounds, loss=loss, loss_low=loss - 0.02, loss_high=loss + 0.02, accuracy=0.8,
        )
        for number in range(0, one.rounds + 1, one.every)
        for loss in [1.3 - (1.3 - end) * number / one.rounds]
    ]  # fmt: skip
    reached = [
        Reached(target=target, rounds=dict.fromkeys(seeds, known), passes=dict.fromkeys(seeds, known and 4 * known))
        for target in state.targets
        for known in [next((point.round for point in curve if point.loss <= target), None)]
    ]
    return Outcome(
        method=one.method, figures=figures, differences=differences, reached=reached, curve=curve,
        vram_bytes=36_000_000 + 9_000_000 * place, vram_source="modelled, simulated",
        over_budget_bytes=-4_000_000 + 9_000_000 * place,
    )  # fmt: skip
