"""A plausible run directory, written without running anything. Imports neither torch nor Ray."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.config import config_from_tree
from zorba_ray.metrics import counted_figures

GIB = 2**30
BASE, EACH = int(3.1 * GIB), int(0.33 * GIB)
"""Bytes of a client with nothing active, and of an active block."""
ROWS = {"validation": 400, "test": 1000}

Fleet = list[tuple[str, int, int | None, int]]
"""(class, how many, budget in bytes or None, active blocks)."""

FLEET: Fleet = [("phone", 3, 6 * GIB, 4), ("laptop", 3, 12 * GIB, 11), ("server", 2, 24 * GIB, 24)]


def write_fake_run(
    path: Path,
    *,
    name: str = "fake",
    fleet: Fleet = FLEET,
    blocks: int = 24,
    rounds: int = 120,
    done: int | None = None,
    every: int = 10,
    seed: int = 0,
    lm: bool = False,
    summary: bool = True,
    status: str = "finished",
    lr: float = 2e-3,
    epsilon: float = 0.2,
    fall: float = 0.24,
) -> Path:
    """A run of `rounds` rounds, stopped after `done`; `lm` has no accuracies, `fall` is what the loss loses at most.
    Returns `path`."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    done = rounds if done is None else done
    clients = _clients(fleet, blocks, rng)
    records = [_evaluation(rng, 0, rounds, split, fall, lm) for split in ("validation", "test")]
    for number in range(1, done + 1):
        records.append(_round(rng, number, rounds, len(clients), lr))
        if number % every == 0 or number == rounds:
            records.append(_evaluation(rng, number, rounds, "validation", fall, lm))
    if done == rounds:
        records.append(_evaluation(rng, rounds, rounds, "test", fall, lm))
    _write(path / "config.resolved.json", _config(name, fleet, rounds, every, seed, lr, epsilon))
    _write(path / "provenance.json", _provenance(name))
    _write(path / "allocation.json", _allocation(clients, blocks, epsilon))
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    (path / "ledger.zl").write_bytes(b"ZL")
    if summary:
        _write(path / "summary.json", _summary(records, rounds, done, status))
    return path


def _clients(fleet: Fleet, blocks: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    kinds = [(kind, budget, active) for kind, count, budget, active in fleet for _ in range(count)]
    firsts = [int(rng.integers(0, blocks - active + 1)) for *_, active in kinds]
    return [
        {
            "client": number,
            "class": kind,
            "examples": int(rng.integers(80, 2400)),
            "budget_bytes": budget,
            "bytes": BASE + EACH * active,
            "blocks": list(range(first, first + active)),
            "frozen": "host",
            "master": "device",
        }
        for number, ((kind, budget, active), first) in enumerate(zip(kinds, firsts, strict=True))
    ]


def _allocation(clients: list[dict[str, Any]], blocks: int, epsilon: float) -> dict[str, Any]:
    f2 = sum(client["bytes"] for client in clients)
    shares = [client["bytes"] / client["budget_bytes"] for client in clients if client["budget_bytes"]]
    steps = [
        ("best_convergence", "convergence", "none", 1.31, 1.31, 0.0, 0.21, "optimal"),
        ("constrained_vram", "vram", "f1 <= 2.348", float(f2), 0.995 * f2, 0.005, 30.0, "limit"),
    ]
    keys = ("name", "objective", "constraint", "value", "bound", "gap", "seconds", "status")
    return {
        "clients": clients,
        "blocks": blocks,
        "epsilon": epsilon,
        "f1": 1.3125,
        "f2_bytes": f2,
        "worst_share": max(shares, default=1.0),
        "gap": 0.005,
        "solver": "highs 1.15.1 via pyomo 6.10.1",
        "steps": [dict(zip(keys, step, strict=True)) for step in steps],
        "placements": [
            {"frozen": "host", "master": "device", "parts": {"stem": BASE}, "active_extra_bytes": [EACH] * blocks}
        ],
        "bytes_source": "modelled",
        "accelerator": "simulated",
    }


def _evaluation(
    rng: np.random.Generator, number: int, rounds: int, split: str, most: float, lm: bool
) -> dict[str, Any]:
    fall = 1 - np.exp(-3 * number / rounds)
    loss = 0.69 - most * fall + float(rng.normal(0, 0.004))
    accuracy = None if lm else round(0.53 + 1.29 * most * fall + float(rng.normal(0, 0.006)), 6)
    record = {"kind": "eval", "round": number, "split": split, "loss": loss, "accuracy": accuracy, "eval_s": 0.81}
    return record | answered(loss, accuracy, ROWS[split])


def answered(loss: float, accuracy: float | None, rows: int) -> dict[str, Any]:
    """What a record tells beside loss and accuracy: of a language model, or of two labels that rows have equally
    often."""
    near = {"loss": loss} | ({"perplexity": float(np.exp(loss))} if accuracy is None else {})
    found: dict[str, Any] = {"rows": rows, "items": 30 * rows}
    if accuracy is not None:
        half = rows // 2
        wrong = (round((1 - accuracy) * half), round((1 - accuracy) * half / 2))
        matrix = np.array([[half - wrong[0], wrong[0]], [wrong[1], half - wrong[1]]])
        counts = np.array([[matrix.sum(1), matrix.sum(0), matrix.diagonal()]])
        near |= {name: float(value) for name, (value,) in counted_figures(counts).items() if name != "accuracy"}
        majority = {"accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 1 / 3, "mcc": 0.0}
        found |= {"items": rows, "labels": 2, "confusion": matrix.tolist(), "majority": majority}
    spans = {name: {"low": value - 0.02, "high": value + 0.03} for name, value in near.items()}
    return found | {name: value for name, value in near.items() if name != "loss"} | {"intervals": spans}


def _round(rng: np.random.Generator, number: int, rounds: int, clients: int, lr: float) -> dict[str, Any]:
    """One report is late every 37 rounds; one is refused in round 40."""
    late = int(number % 37 == 0)
    ok = clients - late
    return {
        "kind": "round",
        "round": number,
        "loss": 0.7 - 0.23 * (1 - np.exp(-3 * number / rounds)) + float(rng.normal(0, 0.03)),
        "lr": lr * (1 - (number - 1) / rounds),
        "scalar_rms": float(3 * np.exp(rng.normal(0, 0.2))),
        "scalar_mean": float(rng.normal(0, 0.4)),
        "clients_asked": clients,
        "clients_ok": ok,
        "clients_failed": 0,
        "clients_late": late,
        "rejected": {"3": "not finite"} if number == 40 else {},
        "bytes_up": 46 * ok,
        "bytes_down": (38 + 9 + 14 * ok) * clients,
        "distance": 0.02 * number,
        "time": {"clients_s": 2.1, "round_s": 2.2},
    }


def _summary(records: list[dict[str, Any]], rounds: int, done: int, status: str) -> dict[str, Any]:
    played = [record for record in records if record["kind"] == "round"]
    ok, asked = (sum(record[f"clients_{key}"] for record in played) or 1 for key in ("ok", "asked"))
    return {
        "status": status,
        "error": None if status == "finished" else "LostClients: 2 of 8 reports, quorum 4",
        "method": "zorba",
        "rounds": rounds,
        "rounds_done": done,
        "weights_sha256": hashlib.sha256(repr(records[-1]).encode()).hexdigest(),
        "bytes_up_per_client_round": sum(record["bytes_up"] for record in played) / ok,
        "bytes_down_per_client_round": sum(record["bytes_down"] for record in played) / asked,
        "active_set_bytes": 96,
        "forward_pairs_per_client": 4 * done,
        "wall_s": 2.3 * done + 11.5,
        "cpu_s": 4.1 * done,
    }


def _config(name: str, fleet: Fleet, rounds: int, every: int, seed: int, lr: float, epsilon: float) -> dict[str, Any]:
    budgets = all(budget is not None for _, _, budget, _ in fleet)
    tree = {
        "name": name,
        "rounds": rounds,
        "seed": seed,
        "model": {"path": "facebook/opt-350m"},
        "data": {"path": "data/sst2", "prompt": "{sentence} It was", "label_words": ["terrible", "great"]},
        "zo": {"lr": lr, "directions": 4, "difference": "central"},
        "memory": {"frozen": "host"},
        "allocation": {"epsilon": epsilon},
        "federation": {
            "clients": sum(count for _, count, _, _ in fleet),
            "fleet": [{"name": kind, "count": n, "vram": budget} for kind, n, budget, _ in fleet] if budgets else None,
            "backend": "ray",
        },
        "eval": {"every": every},
    }
    return config_from_tree(tree, "fake run").resolved()


def _provenance(name: str) -> dict[str, Any]:
    return {
        "command": ["zorba-ray", "run", "sst2.yaml", f"name={name}", "data.prompt={sentence} It was"],
        "versions": {"zorba-ray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0", "wandb": None},
        "git": {"commit": "bb14dbc2d5d95bf87334c989328704549367c17b", "dirty": False},
        "machine": {"cpu": "AMD EPYC", "cores": 16},
    }


def _write(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
