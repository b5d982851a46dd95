"""What a client reports: ρ, its rounding and clip, its loss, and that it walks an overlay and never θ."""

from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.tiny_models import BLOCKS, LABEL_TOKENS, tiny_batch, tiny_network, tiny_task_model
from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import Distribution, TensorStream, Terms, direction_backend, direction_seed, tensor_stream
from zorba_ray.directions.reference import direction
from zorba_ray.models import Perturbation, TaskModel
from zorba_ray.zo import Estimator, UpdateRule, on_grid, projected_gradient

DIRECTIONS = direction_backend("numpy")
ACTIVE = frozenset({1, 3})
Seeds = Literal["per_client", "shared"]


class Estimate(NamedTuple):
    scalars: np.ndarray
    loss: float


RULE = UpdateRule(7, "per_client", "data", "rademacher", "all", 3, 2, (4, 4, 4))


def sets(*active: frozenset[int]) -> ActiveSets:
    """One set of blocks per client; of one set: that of all three."""
    return ActiveSets.of_sets(active if len(active) > 1 else active * 3, BLOCKS)


def run(
    rule: UpdateRule = RULE, clip: float | None = None, lr: float = 0.02, client: int = 2, scale: float = 0.01
) -> Estimate:
    model = tiny_task_model("opt")
    batches = [tiny_batch("opt", 4, 7, seed=step) for step in range(rule.local_steps)]
    before = model.replica.digest()
    found = Estimator(model, DIRECTIONS, rule, lr, scale, clip).round(5, sets(ACTIVE), {client: batches})
    assert model.replica.digest() == before, "a client wrote θ"
    return Estimate(*found[client])


def move(model: TaskModel, seed: int, scalars: np.ndarray) -> None:
    """A step on θ itself by hand: η = 0.02, P = 3, weight 1."""
    coefficients = on_grid(-0.02 * scalars.astype(np.float64) / 3)
    terms = Terms(np.full(3, seed, np.uint64), np.arange(3, dtype=np.uint64), coefficients, "rademacher")
    for block in ACTIVE:
        for entry in model.replica.manifest.scoped(block, "all"):
            DIRECTIONS.apply_commits(model.replica.parameters[entry.name], block, entry.slot, [terms])


@pytest.mark.parametrize(("plus", "minus"), [(1.0 + 2**-23, 1.0), (0.7, 0.9), (3.25, 3.25), (1e-6, 2.5)])
def test_projected_gradient_is_rounded_once(plus: float, minus: float) -> None:
    """fp32 losses; the quotient by rational arithmetic, then to fp32."""
    high, low = float(np.float32(plus)), float(np.float32(minus))
    exact = (Fraction(high) - Fraction(low)) / (2 * Fraction(1e-3))
    rho = projected_gradient(high, low, 1e-3)
    assert rho.dtype == np.float32
    assert rho == np.float32(float(exact))


def test_projected_gradient_that_is_not_finite_is_told() -> None:
    """For the driver to refuse; no warning."""
    assert projected_gradient(3e38, -3e38, 1e-3) == np.inf
    assert np.isnan(projected_gradient(float("nan"), 1.0, 1e-3))
    assert np.isnan(projected_gradient(float("inf"), float("inf"), 1e-3))


def test_scalars_and_loss_of_one_step() -> None:
    rule = UpdateRule(7, "per_client", "data", "rademacher", "all", 3, 1, (4, 4, 4))
    found = run(rule)
    model = tiny_task_model("opt")
    prepared = model.prepare(tiny_batch("opt", 4, 7, seed=0), ACTIVE)
    seed = direction_seed(7, 5, 2, 0)
    pairs = [model.pair(prepared, Perturbation(seed, place, 0.01, "rademacher")) for place in range(3)]
    assert found.scalars.shape == (1, 3)
    assert found.scalars.dtype == np.float32
    assert found.scalars[0].tolist() == [float(projected_gradient(*pair, 0.01)) for pair in pairs]
    assert found.loss == pytest.approx(sum(map(sum, pairs)) / 6, rel=1e-12)


@pytest.mark.parametrize("seeds", ["per_client", "shared"])
@pytest.mark.parametrize("steps", [1, 2])
def test_one_sided_differences_share_one_base_loss(seeds: Seeds, steps: int) -> None:
    """ρ_p = [F(θ + μz_p) − F(θ)] / μ; F(θ) is a plain evaluation, at the second step where the first one led."""
    rule = UpdateRule(7, seeds, "data", "rademacher", "all", 3, steps, (4, 4, 4))
    model = tiny_task_model("opt")
    batches = [tiny_batch("opt", 4, 7, seed=step) for step in range(steps)]
    estimator = Estimator(model, DIRECTIONS, rule, 0.02, 0.01, one_sided=True)
    found = Estimate(*estimator.round(5, sets(ACTIVE), {2: batches})[2])
    losses = []
    for step in range(steps):
        base = model.evaluate([batches[step]]).loss
        losses.append(base)
        seed = direction_seed(7, 5, rule.stream_of(2), step)
        prepared = model.prepare(batches[step], ACTIVE)
        plus = [model.pair(prepared, Perturbation(seed, place, 0.01, "rademacher"))[0] for place in range(3)]
        expected = [(own - base) / 0.01 for own in plus]
        assert found.scalars[step] == pytest.approx(expected, abs=5e-4)  # rows of a product: B here, 2B in a pair
        if step + 1 < steps:
            move(model, seed, found.scalars[step])
    assert found.loss == pytest.approx(sum(losses) / steps, rel=1e-6)


def test_second_step_is_taken_where_the_first_one_led() -> None:
    """The overlay is θ after `apply_commit` of the client's own scalars, weight 1, each divided by P."""
    found = run()
    model = tiny_task_model("opt")
    move(model, direction_seed(7, 5, 2, 0), found.scalars[0])
    prepared = model.prepare(tiny_batch("opt", 4, 7, seed=1), ACTIVE)
    seed = direction_seed(7, 5, 2, 1)
    pairs = [model.pair(prepared, Perturbation(seed, place, 0.01, "rademacher")) for place in range(3)]
    assert found.scalars[1].tolist() == [float(projected_gradient(*pair, 0.01)) for pair in pairs]
    assert not np.array_equal(run(lr=1e-9).scalars[1], found.scalars[1])


def test_clip_bounds_what_is_reported_and_what_is_walked() -> None:
    free = run()
    bound = float(np.sort(np.abs(free.scalars[0]))[1])  # between the smallest and the largest of three
    held = run(clip=bound)
    limit = np.float32(bound)
    assert np.array_equal(held.scalars[0], np.clip(free.scalars[0], -limit, limit))
    assert np.abs(held.scalars).max() <= limit
    assert not np.array_equal(held.scalars[1], free.scalars[1])


def test_clients_differ_unless_the_seed_is_shared() -> None:
    shared = UpdateRule(7, "shared", "data", "rademacher", "all", 3, 2, (4, 4, 4))
    assert not np.array_equal(run(client=1).scalars, run(client=2).scalars)
    assert np.array_equal(run(shared, client=1).scalars, run(shared, client=2).scalars)


def test_estimates_the_gradient() -> None:
    """ρ is zᵀ∇F up to the kinks of ReLU and fp32 noise (1e-3 at this μ): autograd through the plain network."""
    rule = UpdateRule(7, "per_client", "data", "gaussian", "all", 4, 1, (4, 4, 4))
    found = run(rule, scale=1e-4)
    network = tiny_network("opt").requires_grad_(True)
    batch = tiny_batch("opt", 4, 7, seed=0)
    logits = network(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits
    last = logits[torch.arange(4), batch.mask_BT.sum(1) - 1][:, list(LABEL_TOKENS)]
    functional.cross_entropy(last, batch.labels_B).backward()
    seed, manifest = direction_seed(7, 5, 2, 0), tiny_task_model("opt").replica.manifest
    for place in range(4):
        slope = 0.0
        for entry in (entry for block in ACTIVE for entry in manifest.scoped(block, "all")):
            z = direction(tensor_stream(seed, entry.block, entry.slot, place, "gaussian"), 0, entry.numel)
            slope += float(torch.from_numpy(z).double() @ network.get_parameter(entry.name).grad.reshape(-1).double())
        assert abs(slope) > 0.1
        assert found.scalars[0, place] == pytest.approx(slope, rel=5e-3, abs=1e-2)


def test_a_frozen_block_is_never_touched() -> None:
    """Blocks outside A keep their bytes even in the overlay: it holds tensors of active blocks only."""
    model = tiny_task_model("opt")
    seen: set[int] = set()
    inner = model.losses

    def losses(prepared, perturbation):  # type: ignore[no-untyped-def]
        seen.update(block for block, _ in perturbation.overlay)
        return inner(prepared, perturbation)

    model.losses = losses  # type: ignore[method-assign]
    batches = [tiny_batch("opt", 4, 7, seed=step) for step in range(2)]
    Estimator(model, DIRECTIONS, RULE, 0.02, 0.01).round(5, sets(ACTIVE), {2: batches})
    assert seen == ACTIVE
    assert seen < set(range(BLOCKS))


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_clients_that_share_directions_have_the_numbers_they_have_alone(distribution: Distribution) -> None:
    """Other lengths, other active sets, one of them with a prefix: bit for bit; θ is not written."""
    rule = UpdateRule(7, "shared", "data", distribution, "all", 2, 1, (4, 4, 4, 4))
    model = tiny_task_model("opt")
    before = model.replica.digest()
    active = sets(ACTIVE, frozenset(range(BLOCKS)), frozenset({BLOCKS - 1}), frozenset({1, 2}))
    batches = {n: [tiny_batch("opt", 2 + n, 9 - n, seed=n)] for n in range(4)}
    estimator = Estimator(model, DIRECTIONS, rule, 0.1, 0.01)
    together = estimator.round(3, active, batches)
    for client, own in batches.items():
        scalars, loss = estimator.round(3, active, {client: own})[client]
        assert (scalars.tobytes(), loss) == (together[client][0].tobytes(), together[client][1])
    assert len({scalars.tobytes() for scalars, _ in together.values()}) == 4
    assert model.replica.digest() == before


def test_a_shared_block_is_perturbed_once_per_sign() -> None:
    """Three clients with blocks 1 and 3: one draw per tensor, sign and direction, as for one client."""
    drawn: list[int] = []

    class Counting:
        name = "counting"
        apply_commits, draw_signs = DIRECTIONS.apply_commits, DIRECTIONS.draw_signs

        def perturb_into(
            self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
        ) -> None:
            drawn.append(stream.c1)
            DIRECTIONS.perturb_into(scratch, theta, stream, scale, offset)

    rule = UpdateRule(7, "shared", "data", "rademacher", "all", 2, 1, (4, 4, 4))
    model = tiny_task_model("opt", directions=Counting())
    batches = {n: [tiny_batch("opt", 4, 7, seed=n)] for n in range(3)}
    Estimator(model, DIRECTIONS, rule, 0.1, 0.01).round(3, sets(ACTIVE), batches)
    tensors = sum(len(model.replica.manifest.scoped(block, "all")) for block in ACTIVE)
    assert len(drawn) == tensors * 2 * 2
