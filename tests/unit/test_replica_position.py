"""A replica answers plans, and takes commits, for its own place in the ledger and for no other."""

import msgspec
import numpy as np
import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.active_sets import ActiveSets
from zorba_ray.errors import LedgerError, StaleReplica
from zorba_ray.experiment import prepare
from zorba_ray.experiment.build import build_host
from zorba_ray.federation import ClientHost
from zorba_ray.protocol.messages import RoundCommit, RoundPlan, encode


@pytest.fixture(scope="module")
def host() -> ClientHost:
    """A host of four clients at θ0."""
    setup = prepare(tiny_config())
    host = build_host(setup.config, setup.header, setup.model)
    host.load_shards(setup.shards)
    return host


def everybody(host: ClientHost) -> bytes:
    """Packed active sets: all blocks at all clients."""
    return ActiveSets.of_all(host.state.active.clients, host.state.active.blocks).packed


def commit(host: ClientHost, number: int, clients: list[int]) -> RoundCommit:
    """One scalar of each named client."""
    ids, scalars = np.array(clients, dtype="<u4"), np.ones(len(clients), dtype="<f4")
    return RoundCommit(number, 0.01, ids.tobytes(), scalars.tobytes(), everybody(host))


def test_a_plan_for_another_theta_is_not_answered(host: ClientHost) -> None:
    plan = RoundPlan(1, 0.01, 0.01, b"elsewhere"[:8], everybody(host))
    with pytest.raises(StaleReplica, match="replica at round 0 was given the plan of round 1"):
        host.answer(encode(plan), [0])
    answers = host.answer(encode(msgspec.structs.replace(plan, parent=host.state.chain[:8])), [0])
    assert isinstance(answers[0], bytes)


def test_a_commit_of_another_round_is_not_taken(host: ClientHost) -> None:
    before = host.state.replica.digest()
    with pytest.raises(LedgerError, match="the commit is of round 2, round 1 is expected"):
        host.state.apply(encode(commit(host, 2, [0, 1])))
    assert (host.state.round, host.state.replica.digest()) == (0, before)


@pytest.mark.parametrize("clients", [[1, 1], [2, 1], [0, 4]])
def test_client_ids_ascend_and_are_of_the_federation(host: ClientHost, clients: list[int]) -> None:
    with pytest.raises(LedgerError, match="not ascending ids of this federation"):
        host.state.apply(encode(commit(host, 1, clients)))
