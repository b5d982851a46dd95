"""A plausible run directory, written without running anything. Imports neither torch nor Ray."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.config import config_from_tree

GIB = 2**30

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
    client_loss: bool = False,
) -> Path:
    """A run of `rounds` rounds, stopped after `done`; `lm` has no accuracies, `fall` is what the loss loses at most.
    Returns `path`."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    done = rounds if done is None else done
    clients = _clients(fleet, blocks, rng)
    allocation = _allocation(clients, blocks, epsilon)
    records = _records(rng, len(clients), rounds, done, every, lm, lr, fall, client_loss)
    _write(path / "config.resolved.json", _config(name, fleet, rounds, every, seed, lr, epsilon))
    _write(path / "provenance.json", _provenance(name))
    _write(path / "allocation.json", allocation)
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    (path / "ledger.zl").write_bytes(b"ZL")
    if summary:
        _write(path / "summary.json", _summary(allocation, records, rounds, done, status))
    return path


def _clients(fleet: Fleet, blocks: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind, count, budget, active in fleet:
        for _ in range(count):
            first = int(rng.integers(0, blocks - active + 1))
            chosen = list(range(first, first + active))
            base, each = int(3.1 * GIB), int(0.33 * GIB)
            number = len(found)
            found.append(
                {
                    "client": number,
                    "class": kind,
                    "examples": int(rng.integers(80, 2400)),
                    "budget_bytes": budget,
                    "bytes": base + each * active,
                    "blocks": chosen,
                }
            )
    return found


def _allocation(clients: list[dict[str, Any]], blocks: int, epsilon: float) -> dict[str, Any]:
    f2 = sum(client["bytes"] for client in clients)
    shares = [client["bytes"] / client["budget_bytes"] for client in clients if client["budget_bytes"]]
    steps = [
        ("best_convergence", "convergence", "none", 1.31, 1.31, 0.0, 0.21, "optimal"),
        ("best_vram", "vram", "none", 0.8 * f2, 0.8 * f2, 0.0, 0.03, "optimal"),
        ("nadir_convergence", "convergence", f"total bytes <= {int(0.8 * f2):,}", 6.5, 6.49, 0.0015, 0.44, "optimal"),
        ("constrained_vram", "vram", "f1 <= 2.348", float(f2), 0.995 * f2, 0.005, 30.0, "limit"),
    ]
    keys = ("name", "objective", "constraint", "value", "bound", "gap", "seconds", "status")
    return {
        "clients": clients,
        "blocks": blocks,
        "block_parameters": [12_595_200] * blocks,
        "epsilon": epsilon,
        "f1": 1.3125,
        "f2_bytes": f2,
        "worst_share": max(shares, default=1.0),
        "gap": 0.005,
        "solver": "highs 1.15.1 via pyomo 6.10.1",
        "steps": [dict(zip(keys, step, strict=True)) for step in steps],
        "bytes_source": "modelled",
        "accelerator": "simulated",
    }


def _records(
    rng: np.random.Generator,
    clients: int,
    rounds: int,
    done: int,
    every: int,
    lm: bool,
    lr: float,
    most: float,
    client_loss: bool,
) -> list[dict[str, Any]]:
    def evaluation(number: int, split: str) -> dict[str, Any]:
        fall = 1 - np.exp(-3 * number / rounds)
        loss = 0.69 - most * fall + float(rng.normal(0, 0.004))
        accuracy = None if lm else round(0.53 + 1.29 * most * fall + float(rng.normal(0, 0.006)), 6)
        return {"kind": "eval", "round": number, "split": split, "loss": loss, "accuracy": accuracy, "eval_s": 0.81}

    found = [evaluation(0, "validation"), evaluation(0, "test")]
    distance = 0.0
    for number in range(1, done + 1):
        distance += 0.02 / (1 + number / 20)
        late = int(number % 37 == 0)
        ok = clients - late
        parts = {
            "clients_s": float(rng.normal(2.1, 0.15)),
            "aggregate_s": 0.0002,
            "commit_s": 0.0011,
            "apply_s": float(rng.normal(0.05, 0.004)),
        }
        found.append(
            {
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
                "distance": distance,
                "time": {**parts, "round_s": sum(parts.values()) + 0.004},
                "peak_rss_bytes": 1_610_612_736,
                "recovered": False,
            }
        )
        if client_loss:
            found[-1]["client_loss"] = {str(n): found[-1]["loss"] + 0.02 * (n - clients / 2) for n in range(clients)}
        if number % every == 0 or number == rounds:
            found.append(evaluation(number, "validation"))
    if done == rounds:
        found.append(evaluation(rounds, "test"))
    return found


def _summary(
    allocation: dict[str, Any], records: list[dict[str, Any]], rounds: int, done: int, status: str
) -> dict[str, Any]:
    validation = [r for r in records if r["kind"] == "eval" and r["split"] == "validation"]
    test = [r for r in records if r["kind"] == "eval" and r["split"] == "test"]
    played = [r for r in records if r["kind"] == "round"]
    asked = sum(r["clients_asked"] for r in played) or 1
    return {
        "status": status,
        "error": None if status == "finished" else "LostClients: 2 of 8 reports, quorum 4",
        "method": "zorba",
        "rounds": rounds,
        "rounds_done": done,
        "start_loss": validation[0]["loss"],
        "final_loss": validation[-1]["loss"],
        "start_accuracy": validation[0]["accuracy"],
        "final_accuracy": validation[-1]["accuracy"],
        "start_test_accuracy": test[0]["accuracy"],
        "test_accuracy": test[-1]["accuracy"] if len(test) > 1 else None,
        "weights_sha256": hashlib.sha256(repr(validation[-1]).encode()).hexdigest(),
        "bytes_up_per_client_round": sum(r["bytes_up"] for r in played) / (sum(r["clients_ok"] for r in played) or 1),
        "bytes_down_per_client_round": sum(r["bytes_down"] for r in played) / asked,
        "active_set_bytes": 96,
        "ledger_bytes": 21_417,
        "forward_pairs_per_client": 4 * done,
        "forward_passes_per_client": 8 * done,
        "peak_rss_bytes": 1_610_612_736,
        "vram_bytes_per_client": {
            "source": allocation["bytes_source"],
            "accelerator": allocation["accelerator"],
            "clients": [{key: c[key] for key in ("client", "bytes", "budget_bytes")} for c in allocation["clients"]],
        },
        "allocation_gap": allocation["gap"],
        "wall_s": 2.3 * done + 11.5,
        "cpu_s": 4.1 * done,
        "retries": 2,
        "clients_failed": 0,
        "clients_late": sum(r["clients_late"] for r in played),
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
        "started": "2026-11-23T01:39:37+0000",
        "command": ["zorba-ray", "run", "sst2.yaml", f"name={name}", "data.prompt={sentence} It was"],
        "python": "3.11.7",
        "versions": {"zorba-ray": "0.1.0", "torch": "2.13.0", "ray": "2.60.0", "wandb": None},
        "git": {"commit": "bb14dbc2d5d95bf87334c989328704549367c17b", "dirty": False},
        "machine": {"cpu": "AMD EPYC", "cores": 16, "memory_bytes": 137_438_953_472, "gpus": []},
        "run_id": hashlib.sha256(name.encode()).hexdigest()[:16],
    }


def _write(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
