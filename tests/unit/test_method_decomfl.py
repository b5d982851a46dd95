"""DeComFL against its published algorithm: two clients, P one-sided differences, K local steps, averaged scalars."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.tiny_run import batches_of, run_here, tiny_config
from zorba_ray.directions import direction_seed, tensor_stream
from zorba_ray.directions.reference import direction
from zorba_ray.experiment.build import build_host, prepare
from zorba_ray.models import Batch
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import RoundCommit, decode
from zorba_ray.protocol.replay import unpack_scalars

DIRECTIONS, STEPS, MU, LR = 3, 2, 1e-2, 2e-3
TINY = {"decomfl": ("zo.directions=2", "zo.difference=forward", "federation.seeds=shared", "zo.lr=0.005")}
OVERRIDES = (
    "method=decomfl", "federation.clients=2", "federation.seeds=shared", f"zo.directions={DIRECTIONS}",
    f"zo.local_steps={STEPS}", f"zo.perturbation_scale={MU}", f"zo.lr={LR}", "zo.schedule=constant",
    "zo.distribution=gaussian", "zo.difference=forward", "zo.scope=all", "rounds=1", "eval.every=1",
)  # fmt: skip


@pytest.mark.parametrize("difference", ["forward", "central"])
def test_a_round_is_the_published_one(difference: str, tmp_path: Path) -> None:
    """A naive twin: dense noise, whole forwards of a moved copy in float64, clients that walk their own scalars, a
    server that walks the mean ones."""
    config = tiny_config(*OVERRIDES, f"zo.difference={difference}")
    setup = prepare(config)
    manifest = setup.model.replica.manifest
    start = {name: value.clone().double() for name, value in setup.model.replica.parameters.items()}
    moved = [entry for block in range(manifest.blocks) for entry in manifest.scoped(block, "all")]
    batches = {client: batches_of(setup, client) for client in range(2)}
    logits = setup.model.head._logits  # type: ignore[attr-defined]
    logits._weight_CH = logits._weight_CH.double()

    def loss(theta: dict[str, torch.Tensor], batch: Batch) -> float:
        network: nn.Module = setup.model.loaded.network
        network.double()
        for entry in manifest.tensors:
            network.get_parameter(entry.name).data = theta[entry.name].view(entry.shape)
        return setup.model.evaluate([batch]).loss

    def along(theta: dict[str, torch.Tensor], step: int, place: int, by: float) -> dict[str, torch.Tensor]:
        seed, found = direction_seed(config.seed, 1, 0, step), dict(theta)
        for entry in moved:
            z = direction(tensor_stream(seed, entry.block, entry.slot, place, "gaussian"), 0, entry.numel)
            found[entry.name] = theta[entry.name] + by * torch.from_numpy(z).double()
        return found

    scalars = np.zeros((2, STEPS, DIRECTIONS))
    for client in range(2):
        theta = start
        for step in range(STEPS):
            for place in range(DIRECTIONS):
                plus = loss(along(theta, step, place, MU), batches[client][step])
                other = along(theta, step, place, -MU) if difference == "central" else theta
                width = 2 * MU if difference == "central" else MU
                scalars[client, step, place] = (plus - loss(other, batches[client][step])) / width
            for place in range(DIRECTIONS):
                theta = along(theta, step, place, -LR * scalars[client, step, place] / DIRECTIONS)
    wanted = start
    for step in range(STEPS):
        for place in range(DIRECTIONS):
            wanted = along(wanted, step, place, -LR * scalars[:, step, place].mean() / DIRECTIONS)

    run_here(config, tmp_path / "run")
    contents = read_ledger(tmp_path / "run" / "ledger.zl")
    commit = decode(contents.records[0].body, RoundCommit)
    clients, mean = unpack_scalars(commit, contents.header)
    assert clients.tolist() == [0]
    np.testing.assert_allclose(mean[0], scalars.mean(axis=0), atol=2e-2, rtol=2e-3)
    fresh = prepare(config)
    state = build_host(config, fresh.header, fresh.model).state
    state.apply(contents.records[0].body)
    for entry in moved:
        step = fresh.model.replica.parameters[entry.name].double() - start[entry.name]
        reference = wanted[entry.name] - start[entry.name]
        assert float((step - reference).norm()) <= 2e-3 * float(reference.norm())


def test_commits_carry_the_means_alone(tmp_path: Path) -> None:
    """Whoever takes part: 4 K P bytes of scalars, and a frame that does not grow with the clients."""
    sizes = []
    for clients in (2, 4):
        run_here(tiny_config(*OVERRIDES, f"federation.clients={clients}"), tmp_path / str(clients))
        body = read_ledger(tmp_path / str(clients) / "ledger.zl").records[0].body
        commit = decode(body, RoundCommit)
        assert len(commit.scalars) == 4 * STEPS * DIRECTIONS
        assert commit.clients == b""
        sizes.append(len(body) - len(commit.active or b""))
    assert sizes[0] == sizes[1]
