"""Rebuilding θ from the ledger: 8 clients on a model of ten million parameters, 1,000 rounds.

A real run makes rounds; after each of them a second replica applies the same commit, in turns. The thousand rounds are
then replayed on that replica from commits with made-up scalars, which cost the same to apply.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternate import Times, at_most, cost_row, ratio_rows
from benchmarks.live import run_rounds
from benchmarks.rows import Row
from benchmarks.shapes import TEN_MILLION, data_folder, model_folder, settings
from zorba_ray.artifacts import RunDir
from zorba_ray.directions import direction_backend
from zorba_ray.models import Replica, load_model
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import RoundCommit, encode
from zorba_ray.protocol.replay import ReplicaState

CLIENTS, ROWS, LENGTH = 8, 8, 24


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file; quick replays 20 rounds."""
    turns, whole = (3, 20) if quick else (10, 1000)
    model = model_folder(folder / "ten-million", TEN_MILLION)
    data = data_folder(folder / "replay", CLIENTS * ROWS * 4, LENGTH)
    federation, directions = {"clients": CLIENTS}, {"backend": "numba"}
    config = settings(model, data, 1 + turns, LENGTH, ROWS, federation=federation, directions=directions)
    states: list[ReplicaState] = []
    replayed = Times()

    def between(record: dict[str, Any], run: RunDir) -> None:
        contents = read_ledger(run.ledger)
        if not states:
            states.append(ReplicaState(Replica(load_model(config.model)), direction_backend("numba"), contents.header))
        body = contents.records[-1].body
        if record["round"] == 1:
            states[0].apply(body)
        else:
            replayed.add(lambda: states[0].catch_up([body]))

    ran = run_rounds(config, folder, between)
    long = Times()
    long.add(lambda: states[0].catch_up(_commits(states[0], whole)))
    millions = TEN_MILLION.block_parameters / 1e6
    name = f"replay, {CLIENTS} clients, {millions:.2f}M block parameters"
    per_round = Times([value / whole for value in long.cpu], [value / whole for value in long.wall])
    usual = Times([sorted(ran.cpu)[len(ran.cpu) // 2]], [sorted(ran.wall)[len(ran.wall) // 2]])
    return [
        *ratio_rows(f"{name}, {turns} rounds in turns: replay / run", replayed, ran, at_most(0.1)),
        *ratio_rows(f"{name}, {whole} rounds in one go / as many of the run's", per_round, usual, at_most(0.1)),
        cost_row(
            f"{name}, {whole} rounds in one go: per round, client and 10⁶ parameters",
            long, "ms", None, 1e3 / (whole * CLIENTS * millions),
        ),
        cost_row(f"{name}, {whole} rounds in one go", long, "s", None, 1.0),
    ]  # fmt: skip


def _commits(state: ReplicaState, count: int) -> Iterator[bytes]:
    """The next `count` commits after the state's round: all clients, scalars around 1."""
    dice = np.random.Generator(np.random.Philox(3))
    clients = np.arange(CLIENTS, dtype="<u4").tobytes()
    first = state.round + 1
    for number in range(first, first + count):
        yield encode(RoundCommit(number, 1e-6, clients, dice.standard_normal(CLIENTS).astype("<f4").tobytes()))
