"""One zeroth-order step at the shape of OPT-125M: ours against MeZO's, and against the floor of floating-point work.

Ours: prefix, forward pair, and the commit of its one direction. MeZO's full step, as published: four passes over all
parameters and two full forwards; beside it the same over the blocks' tensors only, which are what ours moves. Both take
one batch, fp32, and the logits of the label words at the last position.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.alternate import alternate, at_least, at_most, ratio_rows
from benchmarks.rows import Row
from benchmarks.shapes import OPT_125M, PROMPT, WORDS, Shape, batch, loaded, network
from benchmarks.twins import MezoTwin, plain_loss
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend, direction_seed
from zorba_ray.models import Batch, Perturbation, TaskModel
from zorba_ray.zo import RoundUpdate, UpdateRule, apply_rounds, projected_gradient

MU, LR = 1e-3, 1e-6
RULE = UpdateRule(
    seed=1, seeds="per_client", weights="data", distribution="rademacher", scope="all", directions=1, local_steps=1,
    samples=(1,),
)  # fmt: skip
QUARTER = Shape(12, 384, 25136, 2048)
GOALS = {12: 1.8, 6: 2.4, 3: 3.0}
"""Active blocks, from the top -> how many times faster than MeZO's step."""


def rows(quick: bool) -> list[Row]:
    """All rows of this file; a turn takes about fifteen seconds. Quick has a quarter of the parameters."""
    shape, turns, small_turns = (QUARTER, 1, 3) if quick else (OPT_125M, 5, 9)
    return [*steps(shape, 8, 64, turns), *low_rank(shape, 8, 64, turns), *low_rank(shape, 1, 16, small_turns)]


def steps(shape: Shape, rows: int, length: int, turns: int) -> list[Row]:
    """The step with all blocks, the top half and the top quarter active."""
    plain = loaded(network(shape))
    model = TaskModel(
        loaded(copy.deepcopy(plain.network)), ModelConfig(), PROMPT, WORDS, "all", direction_backend("numba")
    )
    given = batch(rows, length)
    loss = plain_loss(plain, model.head, given)
    twin = MezoTwin([parameter.data for parameter in plain.network.parameters()], MU, LR)
    same = MezoTwin([parameter.data for parameter in plain.blocks.parameters()], MU, LR)
    numbers = itertools.count(1)

    def forwards() -> None:
        loss()
        loss()

    layers = shape.layers
    counts = [layers * active // 12 for active in GOALS]
    ours = [our_step(model, given, frozenset(range(layers - count, layers)), numbers) for count in counts]
    mezo, slim, two, *found = alternate(
        [lambda: twin.step(loss, next(numbers)), lambda: same.step(loss, next(numbers)), forwards, *ours], turns
    )
    made: list[Row] = []
    for count, goal, times in zip(counts, GOALS.values(), found, strict=True):
        name = f"ZO step, OPT {layers}×{shape.hidden}, batch {rows}×{length}, {count} of {layers} blocks active"
        made += ratio_rows(f"{name}: MeZO's full step / ours", mezo, times, at_least(goal, "×"))
        made += ratio_rows(f"{name}: MeZO's step on the blocks' tensors only / ours", slim, times, None)
        floor = (layers - count + 2 * count) / (2 * layers)
        made += ratio_rows(
            f"{name}: ours / two forwards, over the floor of {floor:.3f}", times, two, at_most(1.1, "×"), 1 / floor
        )
    return [
        *made,
        *ratio_rows("MeZO's full step / two forwards", mezo, two, None),
        *ratio_rows("MeZO's step on the blocks' tensors only / two forwards", slim, two, None),
    ]


def low_rank(shape: Shape, rows: int, length: int, turns: int) -> list[Row]:
    """The step with directions U Vᵀ/√r against the dense one, all blocks active; copies weigh most at few tokens."""
    plain = network(shape)
    every = frozenset(range(shape.layers))
    dense, slim = (
        TaskModel(
            loaded(copy.deepcopy(plain)), ModelConfig(), PROMPT, WORDS, "all", direction_backend("numba"), rank=rank
        )
        for rank in (0, 1)
    )
    given, numbers = batch(rows, length), itertools.count(1)
    first = our_step(dense, given, every, numbers)
    second = our_step(slim, given, every, numbers, replace(RULE, rank=1))
    one, other = alternate([first, second], turns)
    name = f"ZO step, OPT {shape.layers}×{shape.hidden}, batch {rows}×{length}, all blocks active"
    return ratio_rows(f"{name}: dense / low_rank with r = 1", one, other, None)


def our_step(
    model: TaskModel,
    given: Batch,
    active: frozenset[int],
    numbers: "itertools.count[int]",
    rule: UpdateRule = RULE,
) -> Callable[[], None]:
    """One step of one client that holds `active`: forward pair and commit."""
    directions = direction_backend("numba")
    replica = model.replica

    def step() -> None:
        round = next(numbers)
        seed = direction_seed(rule.seed, round, 0, 0)
        prepared = model.prepare(given, active)
        plus, minus = model.pair(prepared, Perturbation(seed, 0, MU, rule.distribution))
        scalars = np.array([[[projected_gradient(plus, minus, MU)]]], dtype=np.float32)
        held = ActiveSets.of_sets([active], replica.manifest.blocks)
        update = RoundUpdate(round, LR, np.zeros(1, dtype=np.int64), scalars, held)
        apply_rounds(directions, rule, replica.manifest, replica.parameters, [update])

    return step
