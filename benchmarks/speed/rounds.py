"""A whole round against DeComFL's round: the same model, batches, and label-word logits; all blocks active, K = P = 1.

Ours is a real run in one process (one worker's work: the plan, N clients, checks, the ledger on disk, one commit),
timed round by round; between two of its rounds the twin does one of its own. The twin moves the tensors of the blocks,
as ours does; with `per_client` seeds a second twin moves all parameters, which is what DeComFL does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.alternate import Goal, Times, at_least, ratio_rows
from benchmarks.live import run_rounds
from benchmarks.rows import Row
from benchmarks.shapes import SMALL, data_folder, model_folder, settings
from benchmarks.twins import DecomflTwin, plain_loss
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.experiment import prepare
from zorba_ray.federation import ClientBatches
from zorba_ray.models import Batch, load_model

ROWS, LENGTH = 8, 24
BATCHES = 4
"""Batches that a client has in all."""
GOAL: Goal = at_least(3.5, "×")


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file; quick has the smaller number of clients only."""
    model = model_folder(folder / "small", SMALL)
    counts, turns = ((8,), 1) if quick else ((8, 32), 5)
    return [
        row
        for clients in counts
        for seeds in ("per_client", "shared")
        for row in against_decomfl(model, folder, clients, seeds, turns)
    ]


def against_decomfl(model: Path, folder: Path, clients: int, seeds: str, turns: int) -> list[Row]:
    """Rounds of `clients` participants in turns; the twins' first round is not counted, nor is ours."""
    data = data_folder(folder / f"decomfl-{clients}-{seeds}", clients * ROWS * BATCHES, LENGTH)
    federation = {"clients": clients, "seeds": seeds}
    config = settings(model, data, 1 + turns, LENGTH, ROWS, federation=federation, directions={"backend": "numba"})
    batches = _batches(config)
    same = _twin(config, batches, every_parameter=False)
    others = [_twin(config, batches, every_parameter=True)] if seeds == "per_client" else []
    found = [Times() for _ in (same, *others)]

    def between(record: dict[str, Any], run: RunDir) -> None:
        number = record["round"]
        for twin, times in zip((same, *others), found, strict=True):
            if number == 1:
                twin(number)
            else:
                times.add(lambda twin=twin: twin(number))

    ours = run_rounds(config, folder, between)
    name = f"whole round, OPT 6×256, N = {clients}, batch {ROWS}×{LENGTH}, seeds: {seeds}"
    made = ratio_rows(f"{name}: DeComFL's on the same block tensors / ours", found[0], ours, GOAL)
    for times in found[1:]:
        made += ratio_rows(f"{name}: DeComFL's on all parameters, as published / ours", times, ours, GOAL)
    return made


def _batches(config: ExperimentConfig) -> Callable[[int, int], Batch]:
    """(client, round) -> the batch that the run takes there."""
    setup = prepare(config)
    pad = int(setup.model.loaded.tokenizer.pad_token_id)
    examples = ClientBatches(config, setup.shards, pad, "cpu")
    return lambda client, round: examples.of_round(client, round)[0]


def _twin(
    config: ExperimentConfig, batches: Callable[[int, int], Batch], every_parameter: bool
) -> Callable[[int], object]:
    """A twin's round, by number, on a model of its own at θ0."""
    loaded, head = load_model(config.model), prepare(config).model.head
    tensors = [parameter.data for parameter in (loaded.network if every_parameter else loaded.blocks).parameters()]
    twin = DecomflTwin(tensors, config.zo.perturbation_scale, config.zo.lr)
    assert every_parameter == (len(tensors) > 16 * len(loaded.blocks))
    clients = config.federation.clients

    def round(number: int) -> list[float]:
        losses = [plain_loss(loaded, head, batches(client, number)) for client in range(clients)]
        return twin.round(losses, number)

    return round
