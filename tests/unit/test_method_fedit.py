"""Adapters: what they compute, FedIT and FedMeZO against hand-written twins, merging into a plain model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from tests.support.tiny_run import batches_of, run_here, tiny_config
from zorba_ray.config import ExperimentConfig
from zorba_ray.directions import direction_seed, tensor_stream
from zorba_ray.directions.reference import direction
from zorba_ray.experiment.build import Setup, build_host, prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.models import Batch
from zorba_ray.models.answer_tokens import read_label_tokens
from zorba_ray.models.load import locate
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.snapshot import newest_snapshot

RANK, ALPHA, STEPS = 4, 12.0, 3
TINY = {
    "fedit": ("zo.scope=lora", "method_settings.lr=0.01", "method_settings.local_steps=2", "model.lora.rank=4"),
    "fedmezo": ("zo.scope=lora", "zo.local_steps=3", "zo.lr=0.01", "model.lora.rank=4"),
}
LORA = ("zo.scope=lora", f"model.lora.rank={RANK}", f"model.lora.alpha={ALPHA}", "rounds=1", "eval.every=1")


class Adapted(nn.Module):
    """A linear layer beside which a low-rank one is written out."""

    def __init__(self, linear: nn.Linear, down: torch.Tensor, up: torch.Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.down, self.up = nn.Parameter(down), nn.Parameter(up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + ALPHA / RANK * functional.linear(functional.linear(x, self.down), self.up)


class Twin:
    """A stock model whose attention projections are replaced by `Adapted`, at our θ0."""

    def __init__(self, setup: Setup, dtype: torch.dtype = torch.float32) -> None:
        self.network = AutoModelForCausalLM.from_pretrained(locate("builtin")[0], dtype=torch.float32)
        self.network.eval().requires_grad_(False)
        self.words = read_label_tokens(
            setup.model.loaded.tokenizer, setup.config.data.prompt, setup.config.data.label_words
        ).tokens
        start = setup.model.replica.parameters
        self.tensors: dict[str, nn.Parameter] = {}
        for name, module in list(self.network.named_modules()):
            if isinstance(module, nn.Linear) and "self_attn" in name:
                down = start[f"{name}.lora_down"].view(RANK, -1).clone()
                up = start[f"{name}.lora_up"].view(-1, RANK).clone()
                own = Adapted(module, down, up)
                parent, _, last = name.rpartition(".")
                setattr(self.network.get_submodule(parent), last, own)
                self.tensors[f"{name}.lora_down"], self.tensors[f"{name}.lora_up"] = own.down, own.up
        self.network = self.network.to(dtype)  # type: ignore[arg-type]

    def loss(self, batch: Batch) -> torch.Tensor:
        hidden = self.network.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT)[0]
        last = batch.mask_BT.shape[1] - 1 - batch.mask_BT.flip(1).argmax(1)
        logits = functional.linear(
            hidden[torch.arange(len(batch)), last], self.network.lm_head.weight[list(self.words)]
        )
        return functional.cross_entropy(logits, batch.labels_B)


def after_the_run(config: ExperimentConfig, path: Path) -> dict[str, np.ndarray]:
    run_here(config, path)
    snapshot = newest_snapshot(path / "snapshots", read_ledger(path / "ledger.zl"))
    assert snapshot is not None
    return snapshot.tensors


def test_adapters_change_nothing_at_the_start_and_are_the_same_for_every_run() -> None:
    plain = prepare(tiny_config("zo.scope=all"))
    first, second = (prepare(tiny_config(*LORA, f"seed={seed}")) for seed in (1, 2))
    batch = batches_of(plain, 0)[0]
    assert first.model.evaluate([batch]).loss == plain.model.evaluate([batch]).loss
    entries = first.model.replica.manifest.moved("lora")
    assert {entry.name.rsplit(".", 1)[-1] for entry in entries} == {"lora_down", "lora_up"}
    assert len(entries) == 2 * 4 * 6
    for entry in entries:
        values = first.model.replica.parameters[entry.name]
        assert torch.equal(values, second.model.replica.parameters[entry.name])
        if entry.name.endswith("lora_up"):
            assert not values.any()
        else:
            edge = 1 / entry.shape[1] ** 0.5
            assert 0.8 * edge < float(values.abs().max()) < edge
            assert abs(float(values.mean())) < 0.2 * edge


@pytest.mark.parametrize("clients", [1, 2])
def test_fedit_is_adamw_on_adapters(clients: int, tmp_path: Path) -> None:
    config = tiny_config(
        "method=fedit", *LORA, f"federation.clients={clients}", "method_settings.lr=0.003",
        f"method_settings.local_steps={STEPS}",
    )  # fmt: skip
    setup = prepare(config)
    share = np.array(setup.samples) / sum(setup.samples)
    twins = []
    for client in range(clients):
        twin = Twin(setup)
        for tensor in twin.tensors.values():
            tensor.requires_grad_(True)
        optimizer = torch.optim.AdamW(list(twin.tensors.values()), lr=0.003, weight_decay=0.0)
        for batch in batches_of(setup, client):
            optimizer.zero_grad()
            twin.loss(batch).backward()
            optimizer.step()
        twins.append(twin)
    for name, found in after_the_run(config, tmp_path / "run").items():
        wanted = sum(p * twin.tensors[name].detach().reshape(-1).numpy() for p, twin in zip(share, twins, strict=True))
        np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_fedmezo_is_mezo_on_adapters(tmp_path: Path) -> None:
    """Dense noise, whole forwards in float64, the walk taken in place; the mean by examples."""
    lr, scale = 0.01, 1e-2
    config = tiny_config(
        "method=fedmezo", *LORA, "federation.clients=2", f"zo.lr={lr}", f"zo.perturbation_scale={scale}",
        f"zo.local_steps={STEPS}", "zo.schedule=constant", "zo.distribution=gaussian",
    )  # fmt: skip
    setup = prepare(config)
    share = np.array(setup.samples) / sum(setup.samples)
    entries = setup.model.replica.manifest.moved("lora")
    twins = []
    for client in range(2):
        twin = Twin(setup, torch.float64)

        def move(twin: Twin, seed: int, by: float) -> None:
            for entry in entries:
                z = direction(tensor_stream(seed, entry.block, entry.slot, 0, "gaussian"), 0, entry.numel)
                twin.tensors[entry.name].data += by * torch.from_numpy(z).double().view(entry.shape)

        for step, batch in enumerate(batches_of(setup, client)):
            seed = direction_seed(config.seed, 1, client, step)
            move(twin, seed, scale)
            plus = float(twin.loss(batch).detach())
            move(twin, seed, -2 * scale)
            rho = (plus - float(twin.loss(batch).detach())) / (2 * scale)
            move(twin, seed, scale - lr * rho)
        twins.append(twin)
    found = after_the_run(config, tmp_path / "run")
    for entry in entries:
        start = setup.model.replica.parameters[entry.name].numpy()
        own = [twin.tensors[entry.name].detach().reshape(-1).numpy() for twin in twins]
        wanted = sum(p * tensor for p, tensor in zip(share, own, strict=True)) - start
        assert np.linalg.norm(found[entry.name] - start - wanted) <= 2e-3 * np.linalg.norm(wanted)


def test_an_exported_model_is_plain_and_answers_alike(tmp_path: Path) -> None:
    config = tiny_config(
        "method=fedit", *LORA, "method_settings.lr=0.02", f"method_settings.local_steps={STEPS}", "federation.clients=1"
    )
    run_here(config, tmp_path / "run")
    replay_run(tmp_path / "run", None, tmp_path / "export", None, merged=True)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
    assert not [name for name, _ in plain.named_parameters() if "lora" in name]
    setup = prepare(config)
    batch = batches_of(setup, 0)[0]
    before = setup.model.evaluate([batch]).loss
    twin = Twin(setup)
    snapshot = newest_snapshot(tmp_path / "run" / "snapshots", read_ledger(tmp_path / "run" / "ledger.zl"))
    assert snapshot is not None
    for name, tensor in snapshot.tensors.items():
        twin.tensors[name].data.copy_(torch.from_numpy(tensor).view(twin.tensors[name].shape))
    wanted = twin.network(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits
    with torch.no_grad():
        found = plain(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)
    assert abs(float(twin.loss(batch).detach()) - before) > 1e-3


def test_zorba_perturbs_adapters_of_its_active_blocks(tmp_path: Path) -> None:
    config = tiny_config(*LORA, "allocation.max_blocks=2", "zo.lr=0.01", "memory.frozen=host", "rounds=2")
    summary = run_here(config, tmp_path / "run")
    resident = run_here(
        tiny_config(*LORA, "allocation.max_blocks=2", "zo.lr=0.01", "rounds=2"), tmp_path / "resident"
    )  # fmt: skip
    assert summary["weights_sha256"] == resident["weights_sha256"]
    assert replay_run(tmp_path / "run", None, None, None).confirmed
    setup = prepare(config)
    host = build_host(config, setup.header, setup.model)
    before = {name: value.clone() for name, value in setup.model.replica.parameters.items()}
    host.state.catch_up(record.body for record in read_ledger(tmp_path / "run" / "ledger.zl").records)
    setup.model.replica.sync_all()
    moved = {name for name, value in setup.model.replica.parameters.items() if not torch.equal(value, before[name])}
    assert moved == {entry.name for entry in setup.model.replica.manifest.moved("lora")}
