"""The engine against the naive round of `tests.support.paper_round`.

Bounds: |Δρ| ≤ 1e-3 · max(1, |ρ|) and ‖Δθ − Δθ_ref‖ ≤ 1e-3 · ‖Δθ_ref‖. The reference sums losses in float64, so what is
left is the engine's fp32 forward: about 1e-7 · F / 2μ in ρ, with μ = 1e-2 some 1e-5.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.paper_round import PaperRound, Settings, paper_round
from tests.support.tiny_models import LABEL_TOKENS, LABEL_WORDS, VOCABULARY, tiny_network, tiny_task_model
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import BatchOrder, ClientRows, Shards, TokenTable
from zorba_ray.directions import VERSION, direction_backend
from zorba_ray.experiment.build import build_host
from zorba_ray.federation.host import SequentialBackend
from zorba_ray.federation.round import run_round
from zorba_ray.methods import build_method
from zorba_ray.protocol.ledger import FORMAT
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.replay import ReplicaState, rule_of

SEED = 20
TINY = {"zorba": (), "mezo": ("federation.clients=1",)}
BLOCKS = 4
SAMPLES = (5, 9, 6)
# Block 1 is held by all, 0 and 3 by some, 2 by nobody.
ACTIVE = (frozenset({0, 1}), frozenset({1}), frozenset({0, 1, 3}))
LISTS = {"opt": "model.decoder.layers", "gpt2": "transformer.h", "llama": "model.layers", "bert": "encoder.layer"}


@dataclass
class Outcome:
    """One engine round: ρ by client, θ before and after, the batches that clients saw, and the state after."""

    scalars: dict[int, np.ndarray]
    before: dict[str, torch.Tensor]
    after: dict[str, torch.Tensor]
    state: ReplicaState


def example_tables(pad: int) -> dict[int, TokenTable]:
    """client -> random examples of 3 … 8 tokens."""
    rng = np.random.default_rng(SEED)
    tables = {}
    for client, count in enumerate(SAMPLES):
        rows = [rng.integers(4, VOCABULARY, int(rng.integers(3, 9))).tolist() for _ in range(count)]
        tables[client] = TokenTable.from_lists(rows, rng.integers(0, len(LABEL_WORDS), count).astype(np.int64))
    return tables


def all_in_one_table(tables: dict[int, TokenTable]) -> Shards:
    """The clients' examples interleaved, as a partition leaves them."""
    owners = [(place, client) for client, table in tables.items() for place in range(len(table))]
    owners.sort()
    tokens = [tables[client].tokens[slice(*tables[client].starts[place : place + 2])] for place, client in owners]
    labels = np.array([tables[client].labels[place] for place, client in owners])
    rows = [np.array([row for row, (_, own) in enumerate(owners) if own == client]) for client in tables]
    return Shards(TokenTable.from_lists(tokens, labels), ClientRows.of(rows))


def experiment(settings: Settings, head: str = "auto", backend: str = "numba") -> ExperimentConfig:
    zo = {
        "lr": settings.lr, "schedule": "constant", "perturbation_scale": settings.scale,
        "directions": settings.directions, "difference": "central", "local_steps": settings.local_steps,
        "distribution": settings.distribution, "scope": settings.scope,
    }  # fmt: skip
    return ExperimentConfig.model_validate(
        {
            "rounds": 10,
            "seed": settings.master,
            "model": {"head": head, "temperature": 5.0},
            "data": {"label_words": list(LABEL_WORDS), "batch_size": 4},
            "zo": zo,
            "directions": {"backend": backend},
            "federation": {"clients": 3, "seeds": settings.seeds, "weights": settings.weights},
        }
    )


def engine_rounds(
    kind: str, settings: Settings, rounds: int = 1, asked: tuple[int, ...] = (0, 1, 2), backend: str = "numba"
) -> list[Outcome]:
    """Rounds 1 … `rounds` of the real thing, in process."""
    config = experiment(settings, backend=backend)
    model = tiny_task_model(kind, settings.scope, SEED, directions=direction_backend(backend), blocks=BLOCKS)  # type: ignore[arg-type]
    shards = all_in_one_table(example_tables(int(model.loaded.tokenizer.pad_token_id)))
    header = LedgerHeader(
        format=FORMAT, directions=VERSION, method="zorba", weights_sha256=model.replica.digest(),
        manifest_sha256=model.replica.manifest.digest, config_sha256="", partition_sha256="", data_sha256="",
        seed=settings.master, seeds=settings.seeds, weights=settings.weights, distribution=settings.distribution,
        scope=settings.scope, directions_per_step=settings.directions, local_steps=settings.local_steps,
        samples=SAMPLES, blocks=BLOCKS, family="dense", rank=0, commits="scalars", pool=0, clip_spread=0.0,
    )  # fmt: skip
    host = build_host(config, header, model)
    host.load_shards(shards)
    method = build_method(config, rule_of(header), model.replica.manifest)
    found = []
    for number in range(1, rounds + 1):
        packed = ActiveSets.of_sets(ACTIVE, BLOCKS).packed if number == 1 else None
        plan = method.plan(number, host.state.chain, packed)
        before = {name: tensor.clone() for name, tensor in model.replica.parameters.items()}
        result = run_round(SequentialBackend(host), method, plan, asked, quorum=1.0)
        assert len(result.reports) == len(asked), (result.failed, result.late, result.rejected)
        untouched = {name: tensor.clone() for name, tensor in model.replica.parameters.items()}
        assert all(torch.equal(before[name], untouched[name]) for name in before), "clients moved θ"
        host.state.apply(result.body)
        shape = (settings.local_steps, settings.directions)
        scalars = {r.client: np.frombuffer(r.scalars, "<f4").reshape(shape) for r in result.reports}
        after = {name: tensor.clone() for name, tensor in model.replica.parameters.items()}
        found.append(Outcome(scalars, before, after, host.state))
    return found


def label_words_loss(network: Any, batch: Any) -> float:
    """Full logits over the vocabulary and the sequence, then the label words at the last real token."""
    ids, mask, labels = batch
    logits = network(input_ids=ids, attention_mask=mask).logits
    last = logits[torch.arange(len(ids)), mask.sum(1) - 1][:, list(LABEL_TOKENS)]
    return float(functional.cross_entropy(last, labels))


class LabelPromptsLoss:
    """5 × cosine with the vectors of the label prompts at θ0."""

    def __init__(self, network: Any) -> None:
        ids = torch.tensor([[token] for token in LABEL_TOKENS])
        self.prompts = network(input_ids=ids, attention_mask=torch.ones_like(ids))[0][:, 0].double()

    def __call__(self, network: Any, batch: Any) -> float:
        ids, mask, labels = batch
        hidden = network(input_ids=ids, attention_mask=mask)[0]
        pooled = torch.stack([row[: int(own.sum())].mean(0) for row, own in zip(hidden, mask, strict=True)])
        cosine = functional.cosine_similarity(pooled[:, None, :], self.prompts[None], dim=2)
        return float(functional.cross_entropy(5.0 * cosine, labels))


def reference(
    kind: str, settings: Settings, number: int, theta: dict[str, torch.Tensor], reported: tuple[int, ...] = (0, 1, 2)
) -> PaperRound:
    """The naive round at `theta`."""
    network = tiny_network(kind, SEED, BLOCKS)
    loss = LabelPromptsLoss(network) if kind == "bert" else label_words_loss
    for name, parameter in network.named_parameters():
        if name in theta:  # a pooler is no part of θ
            parameter.copy_(theta[name].view(parameter.shape))
    pad = int(network.config.pad_token_id)
    batches = {}
    for client, table in example_tables(pad).items():
        order = BatchOrder(settings.master, client, table.lengths, 4)
        steps = range((number - 1) * settings.local_steps, number * settings.local_steps)
        batches[client] = [[torch.from_numpy(a) for a in table.collate(order.rows(step), pad)[:3]] for step in steps]
    active = {client: sorted(ACTIVE[client]) for client in reported}
    return paper_round(network, LISTS[kind], loss, settings, number, active, dict(enumerate(SAMPLES)), batches)


def compare(outcome: Outcome, wanted: PaperRound) -> None:
    """The bounds of this file; prints what was found."""
    assert outcome.scalars.keys() == wanted.scalars.keys()
    worst = 0.0
    for client, rho in wanted.scalars.items():
        error = np.abs(outcome.scalars[client] - rho)
        worst = max(worst, float(error.max()))
        assert (error <= 1e-3 * np.maximum(1.0, np.abs(rho))).all(), (client, outcome.scalars[client], rho)
    size = error2 = 0.0
    for name, before in outcome.before.items():
        if name in wanted.delta:
            moved = (outcome.after[name].double() - before.double()).numpy()
            delta = wanted.delta[name].reshape(-1)
            assert np.abs(delta).max() > 0, name
            size += float((delta**2).sum())
            error2 += float(((moved - delta) ** 2).sum())
        else:
            assert torch.equal(outcome.after[name], before), f"{name}: nobody reported on it, and it moved"
    largest = max(float(np.abs(rho).max()) for rho in wanted.scalars.values())
    print(f"PAPER ref_norm={size**0.5:.4f} rel={(error2 / size) ** 0.5:.2e} drho={worst:.2e} rho={largest:.3f}")
    assert error2**0.5 <= 1e-3 * size**0.5


def settings_for(**changes: Any) -> Settings:
    base: dict[str, Any] = {
        "master": 0x0123456789ABCDEF, "lr": 5e-3, "scale": 1e-2, "directions": 1, "local_steps": 1,
        "seeds": "per_client", "weights": "data", "distribution": "rademacher", "scope": "all",
    }  # fmt: skip
    return Settings(**{**base, **changes})


CASES = list(
    itertools.product(
        ("per_client", "shared"), ("data", "inverse_noise"), (1, 3), (1, 2), ("all", "matrices", "bias_norm")
    )
)


@pytest.mark.parametrize(("seeds", "weights", "directions", "local_steps", "scope"), CASES)
def test_engine_agrees_with_the_naive_round(
    seeds: str, weights: str, directions: int, local_steps: int, scope: str
) -> None:
    settings = settings_for(seeds=seeds, weights=weights, directions=directions, local_steps=local_steps, scope=scope)
    (outcome,) = engine_rounds("opt", settings)
    compare(outcome, reference("opt", settings, 1, outcome.before))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("opt", {"distribution": "gaussian", "directions": 3, "local_steps": 2}),
        ("gpt2", {"local_steps": 2, "weights": "inverse_noise"}),
        ("llama", {"seeds": "shared", "directions": 2}),
        ("bert", {"local_steps": 2, "distribution": "gaussian"}),
    ],
)
def test_other_models_heads_and_gaussian(kind: str, changes: dict[str, Any]) -> None:
    settings = settings_for(**changes)
    (outcome,) = engine_rounds(kind, settings)
    compare(outcome, reference(kind, settings, 1, outcome.before))


def test_later_rounds_use_their_own_batches_and_directions() -> None:
    settings = settings_for(directions=2, local_steps=2)
    outcomes = engine_rounds("opt", settings, rounds=3)
    for number, outcome in enumerate(outcomes, start=1):
        compare(outcome, reference("opt", settings, number, outcome.before))
    assert not np.array_equal(outcomes[0].scalars[0], outcomes[1].scalars[0])


@pytest.mark.parametrize("weights", ["data", "inverse_noise"])
def test_denominator_counts_only_the_clients_that_reported(weights: str) -> None:
    """Without client 2 nobody reports on block 3, and blocks 0 and 1 are divided among those who did."""
    settings = settings_for(weights=weights)
    (outcome,) = engine_rounds("opt", settings, asked=(0, 1))
    wanted = reference("opt", settings, 1, outcome.before, reported=(0, 1))
    assert not any(name.startswith(("model.decoder.layers.3.", "model.decoder.layers.2.")) for name in wanted.delta)
    compare(outcome, wanted)


def test_engine_gives_the_same_bytes_on_both_backends() -> None:
    settings = settings_for(directions=2, local_steps=2, weights="inverse_noise")
    digests = {
        engine_rounds("opt", settings, 2, backend=name)[-1].state.replica.digest() for name in ("numpy", "numba")
    }
    assert len(digests) == 1


def test_reference_itself_descends() -> None:
    """The twin is a descent method at all: averaged over many directions, Δθ lowers the loss it was measured on."""
    settings = settings_for(directions=16, lr=0.02)
    network = tiny_network("opt", SEED, BLOCKS)
    batch = [torch.from_numpy(a) for a in example_tables(1)[1].collate(np.arange(8), 1)[:3]]
    found = paper_round(network, LISTS["opt"], label_words_loss, settings, 1, {0: [0, 1]}, {0: 1}, {0: [batch]})
    before = label_words_loss(network.double(), batch)
    for name, parameter in network.named_parameters():
        if name in found.delta:
            parameter += torch.from_numpy(found.delta[name])
    assert label_words_loss(network, batch) < before
