"""Families of run directories with chosen numbers: what `analysis` reads, small enough to work out by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.fake_run import write_fake_run

BASE, EACH, ALL_BLOCKS = 1000, 100, 4
"""Bytes of a client with nothing active, bytes of an active block, blocks of the model."""
BLOCKS = ((2, 3), (1,))
"""Active blocks of the two clients, where nothing else is said."""


def write_member(
    path: Path,
    *,
    seed: int = 1,
    settings: dict[str, Any] | None = None,
    losses: Sequence[float] = (1.0, 0.75, 0.5),
    accuracies: Sequence[float] | None = (0.25, 0.5, 0.75),
    test_accuracy: float = 0.5,
    blocks: Sequence[Sequence[int]] = BLOCKS,
    budgets: Sequence[int] | None = None,
    f1: float = 1.0,
    finished: bool = True,
) -> Path:
    """A run of len(losses) − 1 rounds, each evaluated, with one client per entry of `blocks`. Returns `path`.

    In round t every client sends 10 bytes up and gets 20 + 10 N down, the round takes t / 2 seconds, and
    ‖θ − θ0‖ is 2 t. `settings` are dotted.
    """
    rounds, clients = len(losses) - 1, len(blocks)
    write_fake_run(
        path,
        fleet=[(f"client{n}", 1, budgets[n] if budgets else None, 1) for n in range(clients)],
        blocks=ALL_BLOCKS,
        rounds=rounds,
        every=1,
        seed=seed,
        summary=finished,
        done=None if finished else rounds - 1,
    )

    def config(tree: dict[str, Any]) -> None:
        for key, value in (settings or {}).items():
            section, _, name = key.rpartition(".")
            (tree[section] if section else tree)[name] = value

    def allocation(tree: dict[str, Any]) -> None:
        for client, held in zip(tree["clients"], blocks, strict=True):
            client.update(blocks=list(held), bytes=BASE + EACH * len(held))
        f2 = sum(client["bytes"] for client in tree["clients"])
        tree.update(f1=f1, f2_bytes=f2, bytes_all_active=BASE + EACH * ALL_BLOCKS)
        tree["placements"][0].update(parts={"stem": BASE}, active_extra_bytes=[EACH] * ALL_BLOCKS)

    def record(entry: dict[str, Any]) -> None:
        number = entry["round"]
        if entry["kind"] == "round":
            entry.update(clients_ok=clients, clients_late=0, distance=2.0 * number, time={"round_s": number / 2})
        elif entry["split"] == "validation":
            entry.update(loss=losses[number], accuracy=accuracies[number] if accuracies else None)
        else:
            entry.update(accuracy=test_accuracy if accuracies and number == rounds else None)

    edit(path / "config.resolved.json", config)
    edit(path / "allocation.json", allocation)
    edit_records(path, record)
    if finished:
        sent = {"bytes_up_per_client_round": 10.0, "bytes_down_per_client_round": 20.0 + 10 * clients}
        edit(path / "summary.json", lambda tree: tree.update(sent))
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a JSON file in place."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), encoding="utf-8")


def edit_records(run_dir: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes every record of metrics.jsonl in place."""
    path = run_dir / "metrics.jsonl"
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for entry in entries:
        change(entry)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def write_sweep(folder: Path, trials: Sequence[dict[str, Any]]) -> Path:
    """sweep.json over the runs in FOLDER/trials; each trial needs `name`, the rest is filled in. Returns `folder`."""
    whole = [
        {"trial": number, "run": f"trials/{trial['name']}", "status": "finished", "values": {}} | trial
        for number, trial in enumerate(trials)
    ]
    metrics = [{"name": "validation_loss", "mode": "min"}]
    tree = {"name": folder.name, "metrics": metrics, "space": {}, "trials": whole}
    (folder / "sweep.json").write_text(json.dumps(tree), encoding="utf-8")
    return folder
