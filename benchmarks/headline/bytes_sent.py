"""Bytes of a client and round on SmolLM2-135M: the frames that a run would send, encoded, without a run."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.alternate import at_least, at_most, judged
from benchmarks.headline.tasks import SST2
from benchmarks.rows import Row
from zorba_ray.config import LocalStep, ModelConfig, load_config, load_method
from zorba_ray.models.lora import add_lora
from zorba_ray.models.shapes import skeleton
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan, encode

DEVICE = "encoded frames"
_CLIENT, _SAMPLES = 7, 1000


def rows() -> list[Row]:
    """zorba as in the headline's configuration, up and down, and FedIT's as published beside it."""
    config = load_config(str(SST2.file))
    asked = config.federation.participants
    assert isinstance(asked, int)
    scalars = 4 * config.zo.directions * config.zo.local_steps
    up, down = frames(config.rounds, scalars, scalars * asked, 4 * asked)
    (step,) = load_method("fedit").profiles.values()
    adapters = 4 * adapter_parameters(step)
    their_up, their_down = frames(config.rounds, adapters, adapters, 4 * asked)
    what = f"SmolLM2, {config.zo.directions} directions, {asked} clients a round: bytes of a client and round"
    return [
        judged(f"{what}, zorba, up", [up], "B", at_most(64, " B"), DEVICE),
        judged(f"{what}, zorba, down", [down], "B", None, DEVICE),
        judged(f"{what}, fedit, up", [their_up], "B", None, DEVICE),
        judged(f"{what}, fedit / zorba, up", [their_up / up], "×", at_least(1e4, " ×"), DEVICE),
        judged(f"{what}, fedit / zorba, up and down", [(their_up + their_down) / (up + down)], "×", at_least(1e4, " ×"),
               DEVICE),
    ]  # fmt: skip


def frames(round: int, report: int, commit: int, clients: int) -> tuple[int, int]:
    """Bytes up and down of a round whose report, commit and list of clients have so many."""
    loss, digest = bytes(4), bytes(8)
    sent = encode(ClientReport(round, _CLIENT, digest, loss, _SAMPLES, bytes(report)))
    got = encode(RoundPlan(round, 0.1, 1e-3, digest)), encode(RoundCommit(round, 0.1, bytes(clients), bytes(commit)))
    return len(sent), sum(map(len, got))


def adapter_parameters(step: LocalStep) -> int:
    """d of the adapters of a step on SmolLM2-135M."""
    with FakeTensorMode():
        loaded = skeleton(ModelConfig(path="smollm2-135m"), torch.float32)
        return sum(p.numel() for p in add_lora(loaded.blocks, step.rank, step.rank, step.targets, loaded.label))
