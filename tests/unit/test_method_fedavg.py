"""FedAvg against plain single-process PyTorch on a stock model, its mean, its bytes, what becomes of its tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.errors import ConfigError, LedgerError, ReportRejected
from zorba_ray.experiment.build import Setup, build_host, prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.methods import build_method
from zorba_ray.models import Batch
from zorba_ray.models.heads import label_tokens
from zorba_ray.models.load import locate
from zorba_ray.protocol.codec import decode, encode, frame_digest
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundCommit
from zorba_ray.protocol.snapshot import newest_snapshot

STEPS = 4
OVERRIDES = ("method=fedavg", "zo.scope=all", f"first_order.local_steps={STEPS}", "rounds=1", "eval.every=1")


def batches_of(setup: Setup, client: int, number: int = 1) -> list[Batch]:
    host = build_host(setup.config, setup.header, setup.model)
    host.settle(setup.shards)
    return host._batches(client, number)


def plain_training(setup: Setup, batches: list[Batch], optimizer: str, lr: float, decay: float) -> Any:
    """A stock Hugging Face model and torch's optimizer over the blocks' parameters.

    Logits of the label words alone, as rounding must not differ: AdamW divides a gradient by its own size, so where a
    gradient is nothing but rounding (a key's bias) it decides the step.
    """
    network = AutoModelForCausalLM.from_pretrained(locate("builtin")[0], dtype=torch.float32).eval()
    words = label_tokens(setup.model.loaded.tokenizer, setup.config.data.prompt, setup.config.data.label_words)
    prefix = f"{setup.model.loaded.blocks_name}."
    moved = [p.requires_grad_(name.startswith(prefix)) for name, p in network.named_parameters()]
    moved = [p for p in moved if p.requires_grad]
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    own = kind(moved, lr=lr, weight_decay=decay)
    for batch in batches:
        hidden = network.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT)[0]
        last = batch.mask_BT.shape[1] - 1 - batch.mask_BT.flip(1).argmax(1)
        logits = functional.linear(hidden[torch.arange(len(batch)), last], network.lm_head.weight[words])
        loss = functional.cross_entropy(logits, batch.labels_B)
        own.zero_grad()
        loss.backward()
        own.step()
    return network


@pytest.mark.parametrize(("optimizer", "lr", "decay"), [("sgd", 0.05, 0.0), ("sgd", 0.05, 0.1), ("adamw", 1e-3, 0.01)])
def test_one_client_is_plain_training(optimizer: str, lr: float, decay: float, tmp_path: Path) -> None:
    """To 1e-6 of every weight."""
    config = tiny_config(
        *OVERRIDES, "federation.clients=1", f"first_order.optimizer={optimizer}", f"first_order.lr={lr}",
        f"first_order.weight_decay={decay}",
    )  # fmt: skip
    setup = prepare(config)
    plain = plain_training(setup, batches_of(setup, 0), optimizer, lr, decay)
    run_here(config, tmp_path / "run")
    snapshot = newest_snapshot(tmp_path / "run" / "snapshots", read_ledger(tmp_path / "run" / "ledger.zl"))
    assert snapshot is not None
    start = setup.model.replica.parameters
    assert snapshot.tensors.keys() == {entry.name for entry in setup.model.replica.manifest.moved("all")}
    for name, tensor in snapshot.tensors.items():
        wanted = plain.get_parameter(name).detach().reshape(-1).numpy()
        assert np.abs(tensor - wanted).max() <= 1e-6, name
        if name.endswith("fc1.weight"):  # a key's bias has no gradient
            assert np.abs(wanted - start[name].numpy()).max() > 1e-6, name


def test_weights_are_averaged_by_examples(tmp_path: Path) -> None:
    """Clients of 3 and 1 parts: each trains from θ0 on its own batches; embeddings and head stay."""
    config = tiny_config(*OVERRIDES, "federation.clients=2", "data.partition=dirichlet", "first_order.lr=0.05")
    setup = prepare(config)
    share = np.array(setup.samples) / sum(setup.samples)
    assert abs(share[0] - share[1]) > 0.05
    trained = [plain_training(setup, batches_of(setup, client), "sgd", 0.05, 0.0) for client in range(2)]
    run_here(config, tmp_path / "run")
    replay_run(tmp_path / "run", None, tmp_path / "export", None)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
    for name, parameter in found.named_parameters():
        wanted = sum(float(p) * own.get_parameter(name).detach() for p, own in zip(share, trained, strict=True))
        torch.testing.assert_close(parameter.detach(), wanted, atol=2e-6, rtol=0.0)


def test_bytes_are_those_of_the_tensors(tmp_path: Path) -> None:
    """4 d each way, and frames of a few dozen bytes around them; the ledger keeps 32 of them."""
    summary = run_here(tiny_config(*OVERRIDES), tmp_path / "run")
    setup = prepare(tiny_config(*OVERRIDES))
    size = 4 * sum(setup.model.replica.manifest.sizes("all"))
    assert 0 < summary["bytes_up_per_client_round"] - size < 64
    assert 0 < summary["bytes_down_per_client_round"] - size < 128
    assert summary["ledger_bytes"] < 2000
    commit = decode(read_ledger(tmp_path / "run" / "ledger.zl").records[0].body, RoundCommit)
    assert len(commit.scalars) == 32


def test_a_kill_between_ledger_and_snapshot_costs_that_round_alone(tmp_path: Path) -> None:
    config = tiny_config(*OVERRIDES, "rounds=3")
    whole = run_here(config, tmp_path / "run")
    snapshots = sorted((tmp_path / "run" / "snapshots").iterdir())
    assert [path.name for path in snapshots] == ["round-00000002.safetensors", "round-00000003.safetensors"]
    snapshots[-1].unlink()
    (tmp_path / "run" / "summary.json").unlink()
    again = run_here(config, tmp_path / "run")
    assert again["resumed_after_round"] == 2
    assert again["weights_sha256"] == whole["weights_sha256"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum('"kind": "round"' in line for line in lines) == 3


def test_replays_have_the_newest_rounds_alone(tmp_path: Path) -> None:
    run_here(tiny_config(*OVERRIDES, "rounds=3"), tmp_path / "run")
    assert replay_run(tmp_path / "run", None, None, None).confirmed
    with pytest.raises(ConfigError, match="--round 1: fedavg keeps the tensors of its newest rounds alone"):
        replay_run(tmp_path / "run", 1, None, None)
    for path in (tmp_path / "run" / "snapshots").iterdir():
        path.unlink()
    with pytest.raises(LedgerError, match="no snapshot of this ledger"):
        replay_run(tmp_path / "run", None, None, None)


def test_a_record_of_the_ledger_has_no_tensors_to_follow(tmp_path: Path) -> None:
    config = tiny_config(*OVERRIDES)
    run_here(config, tmp_path / "run")
    setup = prepare(config)
    state = build_host(config, setup.header, setup.model).state
    with pytest.raises(LedgerError, match="round 1: 32 bytes of tensors; a ledger keeps none"):
        state.apply(read_ledger(tmp_path / "run" / "ledger.zl").records[0].body)


def test_what_diverged_is_rejected_by_name() -> None:
    setup = prepare(tiny_config(*OVERRIDES))
    host = build_host(setup.config, setup.header, setup.model)
    method = build_method(setup.config, host.state.rule, setup.model.replica.manifest)
    plan = method.plan(1, host.state.chain, b"\x3f" * 4)
    digest, size = frame_digest(encode(plan)), sum(setup.model.replica.manifest.sizes("all"))

    def report(tensors: np.ndarray) -> ClientReport:
        loss = np.float32(1.0).tobytes()
        return ClientReport(1, 0, digest, loss, setup.samples[0], tensors.astype("<f4").tobytes())

    method.check(report(np.zeros(size)), 0, plan, digest)
    with pytest.raises(ReportRejected, match="not finite"):
        method.check(report(np.full(size, np.inf)), 0, plan, digest)
    with pytest.raises(ReportRejected, match=f"4 bytes of tensors, {4 * size} expected"):
        method.check(report(np.zeros(1)), 0, plan, digest)
