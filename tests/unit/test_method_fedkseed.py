"""FedKSeed against its published algorithm, what its frames weigh, and a replica that is rebuilt from θ0."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from tests.support.tiny_run import batches_of, run_here, tiny_config
from zorba_ray.artifacts import read_tree
from zorba_ray.directions import direction_seed, pool_draws, pool_seeds, tensor_stream
from zorba_ray.directions.reference import direction
from zorba_ray.directions.streams import POOL
from zorba_ray.errors import LedgerError, ReportRejected
from zorba_ray.experiment.build import build_host, prepare
from zorba_ray.methods import build_method
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundCommit, decode, encode, frame_digest
from zorba_ray.protocol.snapshot import newest_snapshot, restore

POOL_SIZE, STEPS, MU, LR = 6, 5, 1e-2, 1e-3
TINY = {
    "fedkseed": (
        "zo.schedule=constant", "zo.local_steps=3", "method_settings.pool=8", "zo.lr=0.003",
        "federation.snapshot_every=1",
    )
}  # fmt: skip
OVERRIDES = (
    "method=fedkseed", "federation.clients=3", f"method_settings.pool={POOL_SIZE}", f"zo.local_steps={STEPS}",
    f"zo.perturbation_scale={MU}", f"zo.lr={LR}", "zo.schedule=constant", "zo.distribution=gaussian", "zo.scope=all",
    "data.batch_size=4", "rounds=2", "eval.every=2",
)  # fmt: skip


def test_seeds_are_those_of_the_pool() -> None:
    seeds = pool_seeds(5, POOL_SIZE)
    assert seeds.tolist() == [direction_seed(5, 0, POOL, place) for place in range(POOL_SIZE)]
    assert len(set(seeds.tolist())) == POOL_SIZE
    assert pool_seeds(5, 3).tolist() == seeds[:3].tolist()
    draws = [pool_draws(5, client, number, 4000, POOL_SIZE) for client, number in ((0, 1), (1, 1), (0, 2))]
    assert all(np.bincount(own, minlength=POOL_SIZE).min() > 550 for own in draws)  # 667 ± 24 expected
    assert not any((draws[0] == other).all() for other in draws[1:])


def test_two_rounds_are_the_published_ones(tmp_path: Path) -> None:
    """A naive twin: dense noise in float64, clients that walk seed by seed, sums per seed, θ rebuilt from θ0."""
    config = tiny_config(*OVERRIDES)
    setup = prepare(config)
    manifest, network = setup.model.replica.manifest, setup.model.loaded.network
    start = {name: value.clone().double() for name, value in setup.model.replica.parameters.items()}
    moved = [entry for block in range(manifest.blocks) for entry in manifest.scoped(block, "all")]
    batches = {(client, number): batches_of(setup, client, number) for client in range(3) for number in (1, 2)}
    logits = setup.model.head._logits  # type: ignore[attr-defined]
    logits._weight_CH = logits._weight_CH.double()
    network.double()
    seeds = pool_seeds(config.seed, POOL_SIZE).tolist()
    noise = {
        (seed, entry.name): torch.from_numpy(
            direction(tensor_stream(seed, entry.block, entry.slot, 0, "gaussian"), 0, entry.numel)
        ).double()
        for seed in seeds
        for entry in moved
    }

    def loss(theta: dict, batch) -> float:  # type: ignore[no-untyped-def, type-arg]
        for entry in manifest.tensors:
            network.get_parameter(entry.name).data = theta[entry.name].view(entry.shape)
        return setup.model.evaluate([batch]).loss

    def along(theta: dict, seed: int, by: float) -> dict:  # type: ignore[type-arg]
        return theta | {entry.name: theta[entry.name] + by * noise[seed, entry.name] for entry in moved}

    sums, theta = np.zeros(POOL_SIZE), start
    for number in (1, 2):
        for client in range(3):
            own = theta
            for batch, j in zip(
                batches[client, number], pool_draws(config.seed, client, number, STEPS, POOL_SIZE), strict=True
            ):
                rho = (loss(along(own, seeds[j], MU), batch) - loss(along(own, seeds[j], -MU), batch)) / (2 * MU)
                own = along(own, seeds[j], -LR * rho)
                sums[j] += setup.samples[client] / sum(setup.samples) * rho
        theta = start
        for j, seed in enumerate(seeds):
            theta = along(theta, seed, -LR * sums[j])

    run_here(config, tmp_path / "run")
    contents = read_ledger(tmp_path / "run" / "ledger.zl")
    fresh = prepare(config)
    state = build_host(config, fresh.header, fresh.model).state
    state.catch_up(record.body for record in contents.records)
    for entry in moved:
        step = fresh.model.replica.parameters[entry.name].double() - start[entry.name]
        reference = theta[entry.name] - start[entry.name]
        assert float((step - reference).norm()) <= 2e-3 * float(reference.norm())


def test_frames_weigh_what_was_published(tmp_path: Path) -> None:
    """4 + 4 pool + 8 K bytes a client and round, both ways together, within one per cent: 17,988 at 4,096 and 200."""
    pool, steps = 4096, 200
    run_here(
        tiny_config(*OVERRIDES, f"method_settings.pool={pool}", f"zo.local_steps={steps}", "rounds=1"), tmp_path / "run"
    )
    summary = read_tree(tmp_path / "run" / "summary.json")
    total = summary["bytes_up_per_client_round"] + summary["bytes_down_per_client_round"]
    assert total == pytest.approx(4 + 4 * pool + 8 * steps, rel=0.01)


def test_a_replica_far_behind_is_rebuilt_in_one_pass(tmp_path: Path) -> None:
    """One commit after another, all at once, and from a snapshot of accumulators: the same bytes."""
    config = tiny_config(*OVERRIDES, "rounds=4", "federation.snapshot_every=3")
    summary = run_here(config, tmp_path / "run")
    contents = read_ledger(tmp_path / "run" / "ledger.zl")
    for way in ("each", "all", "snapshot"):
        setup = prepare(config)
        state = build_host(config, setup.header, setup.model).state
        if way == "each":
            for record in contents.records:
                state.apply(record.body)
        elif way == "all":
            state.catch_up(record.body for record in contents.records)
        else:
            snapshot = newest_snapshot(tmp_path / "run" / "snapshots", contents)
            assert snapshot is not None
            assert (snapshot.round, {name: v.size for name, v in snapshot.tensors.items()}) == (
                3, {"accumulators": POOL_SIZE + 1}
            )  # fmt: skip
            restore(state, snapshot)
            state.catch_up(record.body for record in contents.records[3:])
        assert setup.model.replica.digest() == summary["weights_sha256"], way
        assert (state.round, state.chain) == (4, contents.chain)


def test_commits_that_do_not_fit_are_refused_and_leave_the_replica() -> None:
    setup = prepare(tiny_config(*OVERRIDES))
    state = build_host(setup.config, setup.header, setup.model).state
    active = b"\x3f" * 3
    before = setup.model.replica.digest()

    def commit(number: int, sums: list[float], lr: float = LR) -> bytes:
        return encode(RoundCommit(number, lr, b"\0\0\0\0", np.array(sums, "<f4").tobytes(), active))

    with pytest.raises(LedgerError, match="round 1: 2 sums, 6"):
        state.apply(commit(1, [1.0, 2.0]))
    with pytest.raises(LedgerError, match="round 1: 6 sums, 6 finite"):
        state.apply(commit(1, [float("nan")] * POOL_SIZE))
    with pytest.raises(LedgerError, match="the commit is of round 2, round 1 is expected"):
        state.apply(commit(2, [0.0] * POOL_SIZE))
    assert setup.model.replica.digest() == before
    state.apply(commit(1, [1.0] * POOL_SIZE))
    with pytest.raises(LedgerError, match=r"rate 0\.5 after 0\.001"):
        state.apply(commit(2, [1.0] * POOL_SIZE, lr=0.5))


def test_reports_with_other_seeds_are_rejected() -> None:
    setup = prepare(tiny_config(*OVERRIDES))
    host = build_host(setup.config, setup.header, setup.model)
    method = build_method(setup.config, host.state.rule, setup.model.replica.manifest)
    host.load_shards(setup.shards)
    plan = method.plan(1, host.state.chain, b"\x3f" * 3)
    frame = encode(plan)
    answer = host.answer(frame, [0])[0]
    assert isinstance(answer, bytes)
    report = decode(answer, ClientReport)
    digest = frame_digest(frame)
    method.check(report, 0, plan, digest)
    steps = np.frombuffer(report.scalars, dtype="<u4").copy()
    steps[0] = (steps[0] + 1) % POOL_SIZE
    with pytest.raises(ReportRejected, match="not those of this client and round"):
        method.check(msgspec.structs.replace(report, scalars=steps.tobytes()), 0, plan, digest)
    beyond = np.frombuffer(report.scalars, dtype="<f4").copy()
    beyond[1] = 51.0
    clipped = build_method(
        setup.config.model_copy(update={"zo": setup.config.zo.model_copy(update={"clip": 50.0})}), host.state.rule,
        setup.model.replica.manifest,
    )  # fmt: skip
    with pytest.raises(ReportRejected, match=r"\|ρ\| = 51 exceeds zo.clip = 50"):
        clipped.check(msgspec.structs.replace(report, scalars=beyond.tobytes()), 0, plan, digest)
    with pytest.raises(ReportRejected, match="32 bytes of seeds and scalars, 40 expected"):
        method.check(msgspec.structs.replace(report, scalars=report.scalars[:-8]), 0, plan, digest)
