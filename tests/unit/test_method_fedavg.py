"""FedAvg against plain single-process PyTorch on a stock model, its mean, its bytes, what becomes of its tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from tests.support.tiny_run import batches_of, run_here, tiny_config
from zorba_ray.errors import ReportRejected
from zorba_ray.experiment.build import Setup, build_host, prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.methods import build_method
from zorba_ray.models import Batch
from zorba_ray.models.answer_tokens import read_label_tokens
from zorba_ray.models.load import locate
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundCommit, decode, encode, frame_digest
from zorba_ray.protocol.snapshot import newest_snapshot

STEPS = 4
TINY = {"fedavg": ("method_settings.lr=0.05", "method_settings.local_steps=2")}
OVERRIDES = ("method=fedavg", "zo.scope=all", f"method_settings.local_steps={STEPS}", "rounds=1", "eval.every=1")


def plain_training(setup: Setup, batches: list[Batch], optimizer: str, lr: float) -> Any:
    """A stock Hugging Face model and torch's optimizer over the blocks' parameters.

    Logits of the label words alone, as rounding must not differ: AdamW divides a gradient by its own size, so where a
    gradient is nothing but rounding (a key's bias) it decides the step.
    """
    network = AutoModelForCausalLM.from_pretrained(locate("builtin")[0], dtype=torch.float32).eval()
    words = read_label_tokens(
        setup.model.loaded.tokenizer, setup.config.data.prompt, setup.config.data.label_words
    ).tokens
    prefix = f"{setup.model.loaded.blocks_name}."
    moved = [p.requires_grad_(name.startswith(prefix)) for name, p in network.named_parameters()]
    moved = [p for p in moved if p.requires_grad]
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    own = kind(moved, lr=lr, weight_decay=0.0)
    for batch in batches:
        hidden = network.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT)[0]
        last = batch.mask_BT.shape[1] - 1 - batch.mask_BT.flip(1).argmax(1)
        logits = functional.linear(hidden[torch.arange(len(batch)), last], network.lm_head.weight[list(words)])
        loss = functional.cross_entropy(logits, batch.labels_B)
        own.zero_grad()
        loss.backward()
        own.step()
    return network


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.05), ("adamw", 1e-3)])
def test_one_client_is_plain_training(optimizer: str, lr: float, tmp_path: Path) -> None:
    """To 1e-6 of every weight."""
    config = tiny_config(
        *OVERRIDES, "federation.clients=1", f"method_settings.optimizer={optimizer}", f"method_settings.lr={lr}",
    )  # fmt: skip
    setup = prepare(config)
    plain = plain_training(setup, batches_of(setup, 0), optimizer, lr)
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
    config = tiny_config(*OVERRIDES, "federation.clients=2", "data.partition=dirichlet", "method_settings.lr=0.05")
    setup = prepare(config)
    share = np.array(setup.samples) / sum(setup.samples)
    assert abs(share[0] - share[1]) > 0.05
    trained = [plain_training(setup, batches_of(setup, client), "sgd", 0.05) for client in range(2)]
    run_here(config, tmp_path / "run")
    replay_run(tmp_path / "run", None, tmp_path / "export", None)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
    for name, parameter in found.named_parameters():
        wanted = sum(float(p) * own.get_parameter(name).detach() for p, own in zip(share, trained, strict=True))
        torch.testing.assert_close(parameter.detach(), wanted, atol=2e-6, rtol=0.0)


def test_a_mean_is_taken_in_float64_and_rounded_once() -> None:
    """Three clients that found the same tensor leave it as it is; of two, every value is the nearest fp32."""
    setup = prepare(tiny_config(*OVERRIDES))
    host = build_host(setup.config, setup.header, setup.model)
    method = build_method(setup.config, host.state.rule, setup.model.replica.manifest)
    plan = method.plan(1, host.state.chain, None)
    draws = np.random.default_rng(1).standard_normal((2, 1000)).astype("<f4")

    def mean(own: list[np.ndarray], samples: list[int]) -> np.ndarray:
        reports = [
            ClientReport(1, client, b"", np.float32(1.0).tobytes(), number, tensor.tobytes())
            for client, (tensor, number) in enumerate(zip(own, samples, strict=True))
        ]
        return np.frombuffer(method.aggregate(plan, reports).scalars, dtype="<f4")

    assert mean([draws[0]] * 3, [1, 1, 1]).tolist() == draws[0].tolist()
    wide = draws.astype(np.float64)
    assert mean([draws[0], draws[1]], [3, 7]).tolist() == (0.3 * wide[0] + 0.7 * wide[1]).astype("<f4").tolist()


def test_bytes_are_those_of_the_tensors(tmp_path: Path) -> None:
    """4 d each way, exactly, beside frames of known sizes; the ledger keeps 32 of them.

    Every frame has kind, version, the array's length and a CRC, 7 bytes; 4 d bytes come with a length of 5, fewer than
    256 with one of 2. Up: round, client, samples 3; plan 2 + 8; loss 2 + 4: 19. Down, the plan: round 1, η and μ 9
    each, parent 2 + 8, no active sets; the commit: round 1, η 9, four clients 2 + 16.
    """
    summary = run_here(tiny_config(*OVERRIDES), tmp_path / "run")
    setup = prepare(tiny_config(*OVERRIDES))
    size = 4 * sum(setup.model.replica.manifest.sizes("all"))
    assert summary["bytes_up_per_client_round"] == size + 7 + 5 + 19
    plan, commit = 7 + 1 + 18 + 10 + 1, 7 + 5 + 1 + 9 + 18 + 1
    assert summary["bytes_down_per_client_round"] == size + plan + commit
    assert summary["forward_pairs_per_client"] == 0
    assert summary["forward_passes_per_client"] == STEPS
    assert summary["ledger_bytes"] < 2000
    commit = decode(read_ledger(tmp_path / "run" / "ledger.zl").records[0].body, RoundCommit)
    assert len(commit.scalars) == 32


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
