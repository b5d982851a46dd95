"""A comparison's folder with chosen numbers, written without running anything: small enough to work out by hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.fake_family import BLOCKS, edit, edit_records, write_member
from zorba_ray.config import ExperimentConfig, config_from_tree, load_method, method_names

PASSES, DIRECTIONS = 24, 2
"""Forward passes of each client in all; directions of a zorba client's round."""
SPREAD = 1 / 32
"""What the first method's final losses of neighbouring seeds differ by."""
START = 0.5
"""Test accuracy before the first round."""
LADDER = {"0.001": 0.875, "0.003": 0.625, "0.009": 0.75}
"""Rate -> final loss where it was tried; the middle one is best."""

Tried = Mapping[str, Mapping[str, float | None]]


def write_fake_comparison(
    path: Path,
    *,
    name: str = "fake",
    methods: Sequence[str] = method_names(),
    seeds: int = 3,
    tried: Tried | None = None,
    endings: Mapping[str, str] | None = None,
    todo: Sequence[str] = (),
) -> Path:
    """Runs of `methods` on seeds 1, 2, … of two clients, central methods of one. Returns `path`.

    Final validation loss of the method at place p and the seed at distance s from the middle one:
    1/2 + p/16 + (p mod 3 + 1) s SPREAD, from 1 in a straight line. Test accuracy: from START to 3/4 − p/32 + s SPREAD.

    Args:
        tried: method -> its tried rates, instead of LADDER; empty for one that was given a single rate.
        endings: "METHOD/seed-N" -> diverged, failed or interrupted, after one round.
        todo: runs that have not begun.
    """
    path.mkdir(parents=True)
    ladders = {method: dict((tried or {}).get(method, LADDER)) for method in methods}
    chosen = {method: _best(ladder) for method, ladder in ladders.items()}
    cells: dict[str, dict[str, Any]] = {}
    for place, method in enumerate(methods):
        for seed in range(1, seeds + 1):
            run = f"{method}/seed-{seed}"
            if run in todo:
                continue
            status = (endings or {}).get(run, "finished")
            away = seed - (seeds + 1) / 2
            final = 1 / 2 + place / 16 + (place % 3 + 1) * away * SPREAD
            if status == "finished":
                _write_run(path / run, method, seed, chosen[method], final, 3 / 4 - place / 32 + away * SPREAD)
            cells[run] = {
                "method": method, "seed": seed, "rate": chosen[method], "tuning": False, "status": status,
            } | ({} if status == "finished" else {"error": "by hand", "round": 1})  # fmt: skip
    settings = config_from_tree(_tree("zorba", 1, chosen.get("zorba", 0.003)), "fake comparison").numbers()
    state = {
        "name": name,
        "command": ["zorba-ray", "compare", "fake.yaml"],
        "asked": {
            "settings": settings, "methods": list(methods), "seeds": list(range(1, seeds + 1)), "rates": {},
            "tune_share": 0.25, "overrides": {},
        },
        "passes": PASSES,
        "chosen": chosen,
        "tried": ladders,
        "cells": cells,
    }  # fmt: skip
    (path / "compare.json").write_text(json.dumps(state), encoding="utf-8")
    return path


def fake_config(method: str, seed: int, rate: float) -> ExperimentConfig:
    """Of one run: as many rounds as the passes suffice for."""
    tree = _tree(method, seed, rate)
    total = PASSES * (len(BLOCKS) if load_method(method).central else 1)
    return config_from_tree(tree | {"rounds": total // config_from_tree(tree, method).cost_per_round}, method)


def _best(ladder: Mapping[str, float | None]) -> float:
    """As a comparison chooses: the smallest where none ended."""
    ended = {rate: loss for rate, loss in ladder.items() if loss is not None}
    return float(min(ended, key=ended.__getitem__)) if ended else min(map(float, ladder), default=0.003)


def _tree(method: str, seed: int, rate: float) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "name": f"fake-{method}",
        "method": method,
        "seed": seed,
        "model": {"path": "facebook/opt-350m"},
        "data": {"path": "data/sst2", "prompt": "{sentence} It was", "label_words": ["terrible", "great"]},
        "federation": {"clients": 1 if load_method(method).central else len(BLOCKS), "backend": "sequential"},
        "eval": {"every": 1},
    }
    if load_method(method).backward:
        return tree | {"method_settings": {"lr": rate, "local_steps": 2}}
    own: dict[str, dict[str, Any]] = {
        "zorba": {"directions": DIRECTIONS, "difference": "central"},
        "fedkseed": {"local_steps": 2},
        "fedmezo": {"local_steps": 2},
    }
    return tree | {"zo": {"lr": rate} | own.get(method, {})}


def _write_run(path: Path, method: str, seed: int, rate: float, final: float, test_accuracy: float) -> None:
    config = fake_config(method, seed, rate)
    rounds = config.rounds
    losses = [1 + (final - 1) * number / rounds for number in range(rounds + 1)]
    write_member(
        path,
        seed=seed,
        losses=losses,
        accuracies=[1 - loss / 2 for loss in losses],
        test_accuracy=test_accuracy,
        blocks=(range(4),) if load_method(method).central else BLOCKS,
    )
    (path / "config.resolved.json").write_text(json.dumps(config.resolved()), encoding="utf-8")
    edit(path / "summary.json", lambda tree: tree.update(method=method, cpu_s=2.0 * rounds))

    def start(record: dict[str, Any]) -> None:
        if (record["kind"], record.get("split"), record["round"]) == ("eval", "test", 0):
            record["accuracy"] = START

    edit_records(path, start)
