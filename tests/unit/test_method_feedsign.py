"""A method that is added from outside: FeedSign's votes, bytes and walk. tests/contract/test_methods.py runs it too."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.directions import direction_seed, tensor_stream
from zorba_ray.directions.reference import direction
from zorba_ray.errors import ConfigError, ReportRejected
from zorba_ray.experiment.build import build_host, prepare
from zorba_ray.methods import build_method
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundCommit, decode

METHOD = "tests.methods.feedsign"
TINY = {METHOD: ("zo.directions=3", "zo.lr=0.002", "federation.seeds=shared")}
LR, DIRECTIONS = 1e-3, 11
OVERRIDES = (
    f"method={METHOD}", f"zo.directions={DIRECTIONS}", f"zo.lr={LR}", "zo.difference=central", "rounds=1",
    "federation.seeds=shared",
)  # fmt: skip


def test_everybody_walks_with_the_committed_signs(tmp_path: Path) -> None:
    """−η/P Σ s z, along directions that the reference draws; every s is ±1."""
    config = tiny_config(*OVERRIDES)
    run_here(config, tmp_path / "run")
    body = read_ledger(tmp_path / "run" / "ledger.zl").records[0].body
    signs = np.frombuffer(decode(body, RoundCommit).scalars, dtype="<f4")
    assert signs.shape == (DIRECTIONS,)
    assert set(signs.tolist()) == {-1.0, 1.0}
    setup = prepare(config)
    start = {name: value.clone() for name, value in setup.model.replica.parameters.items()}
    build_host(config, setup.header, setup.model).state.apply(body)
    seed = direction_seed(config.seed, 1, 0, 0)
    for entry in setup.model.replica.manifest.moved("bias_norm"):
        stream = [tensor_stream(seed, entry.block, entry.slot, p, "rademacher") for p in range(DIRECTIONS)]
        wanted = -LR / DIRECTIONS * sum(s * direction(z, 0, entry.numel) for s, z in zip(signs, stream, strict=True))
        moved = (setup.model.replica.parameters[entry.name] - start[entry.name]).numpy()
        np.testing.assert_allclose(moved, wanted, atol=2e-7)


def test_a_vote_is_a_bit_and_the_majority_decides() -> None:
    config = tiny_config(*OVERRIDES)
    setup = prepare(config)
    state = build_host(config, setup.header, setup.model).state
    method = build_method(config, state.rule, setup.model.replica.manifest)
    plan = method.plan(1, state.chain, None)

    def report(client: int, signs: list[int]) -> ClientReport:
        bits = np.packbits(np.array(signs) > 0).tobytes()
        return ClientReport(1, client, b"digest..", np.float32(1).tobytes(), setup.samples[client], bits)

    votes = np.random.default_rng(1).choice([-1, 1], (4, DIRECTIONS))
    reports = [report(client, own.tolist()) for client, own in enumerate(votes)]
    assert [len(one.scalars) for one in reports] == [2] * 4
    for one in reports:
        method.check(one, one.client, plan, b"digest..")
    committed = np.frombuffer(method.aggregate(plan, reports).scalars, dtype="<f4")
    assert committed.tolist() == np.where(votes.sum(axis=0) >= 0, 1, -1).tolist()
    with pytest.raises(ReportRejected, match="1 bytes of signs, 2 expected"):
        method.check(report(0, [1] * 8), 0, plan, b"digest..")
    with pytest.raises(ReportRejected, match="signs of directions that there are not"):
        method.check(report(0, [1] * 16), 0, plan, b"digest..")


def test_its_own_refusals() -> None:
    with pytest.raises(ConfigError, match=r"needs federation\.seeds=shared"):
        tiny_config(*OVERRIDES, "federation.seeds=per_client")
    with pytest.raises(ConfigError, match="feedsign takes one step"):
        tiny_config(*OVERRIDES, "zo.local_steps=2")
