"""`zo.scope: auto`: what is perturbed, chosen once before a run has a ledger, and read from the ledger afterwards."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from zorba_ray.artifacts import RunDir, write_json
from zorba_ray.config import ExperimentConfig
from zorba_ray.directions import uniforms
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.federation import ClientBatches
from zorba_ray.federation.round import participant_count
from zorba_ray.models import Batch, Scope
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.replay import rule_of
from zorba_ray.zo.scope_probe import (
    CHOICES,
    HEAT,
    KINDS,
    WITH_MATRICES,
    ScopeScore,
    choose_scope,
    present,
    scope_scores,
)

PAIRS = 6
"""Forward pairs per set and client."""
CLIENTS = 4
"""Clients with the most examples, which are asked."""


def with_scope(config: ExperimentConfig, device: str = "cpu") -> tuple[ExperimentConfig, dict[str, Any] | None]:
    """The settings with what `auto` chose in its place, and what it was chosen by; both as they are without `auto`.

    The examples are those that a simulation has in this process; in a federation of separate machines the same
    scalars would be asked of the clients, as a probe of the blocks asks them.
    """
    if config.zo.scope != "auto":
        return config, None
    scores, asked = _measured(_fixed(config, "all"), WITH_MATRICES if config.zo.family == "low_rank" else KINDS, device)
    kinds = [score.scope for score in scores]
    pairs = pairs_per_round(config)
    chosen = choose_scope(scores, config.zo.lr, pairs)
    record = {
        "scope": chosen,
        "among": [kind for kind in kinds if kind in CHOICES],
        "pairs": PAIRS,
        "clients": asked,
        "forward_pairs": PAIRS * len(asked) * len(kinds),
        "scores": [{**asdict(score), "heat": score.heat(config.zo.lr, pairs)} for score in scores],
    }
    return _fixed(config, chosen), record


def suited_rate(
    config: ExperimentConfig, chosen: dict[str, Any] | None, device: str = "cpu"
) -> tuple[float | None, int]:
    """(η whose heat on the tensors in scope is HEAT, forward pairs that it took), by the curvature of the logits; None
    where they do not change.

    Args:
        chosen: of `with_scope`, whose scores are not measured again; None: nothing was chosen.
    """
    if chosen is None:
        (score,), asked = _measured(config, (config.zo.fixed_scope,), device)
        pairs = PAIRS * len(asked)
    else:
        own = next(own for own in chosen["scores"] if own["scope"] == chosen["scope"])
        score = ScopeScore(**{key: value for key, value in own.items() if key != "heat"})
        pairs = chosen["forward_pairs"]
    return score.suited(pairs_per_round(config)), pairs


def _measured(config: ExperimentConfig, kinds: Sequence[Scope], device: str) -> tuple[list[ScopeScore], list[int]]:
    """Scores of those of `kinds` that the model has, and the clients asked."""
    # Dense directions, no budgets and all blocks at home: what is measured belongs to θ and the data alone.
    plain = config.zo.model_copy(update={"family": "dense", "rank": None, "difference": "central"})
    federation = config.federation.model_copy(update={"fleet": None})
    setup = prepare(config.model_copy(update={"zo": plain, "federation": federation}), device)
    largest = sorted(range(len(setup.samples)), key=lambda client: (-setup.samples[client], client))[:CLIENTS]
    # A central method's one client gives independent batches instead.
    asked = sorted(largest) if len(largest) > 1 else largest * CLIENTS
    batches = [_batch(setup, client, place) for place, client in enumerate(asked)]
    there, scale = present(setup.model.replica.manifest, kinds), config.zo.perturbation_scale
    return scope_scores(setup.model, rule_of(setup.header), scale, there, PAIRS, batches), asked


def resolved_scope(config: ExperimentConfig, run: RunDir, device: str) -> tuple[ExperimentConfig, str | None]:
    """`with_scope` of a run: probed and written to its directory where it has no ledger, else the ledger's.

    Returns the settings and a line that says what was chosen; None without `auto`.

    Raises:
        LedgerError: the ledger is damaged.
        ConfigError, DataError, ModelError: as `prepare`.
    """
    if config.zo.scope != "auto":
        return config, None
    if run.ledger.exists():
        found = read_ledger(run.ledger).header.scope
        return _fixed(config, found), f"zo.scope=auto: {found}, as this run began"
    resolved, record = with_scope(config, device)
    assert record is not None
    write_json(run.scope, record)
    write_json(run.config, resolved.resolved())
    return resolved, scope_line(record)


def scope_line(record: dict[str, Any]) -> str:
    """What was chosen and by which figures, in one line."""
    figures = ", ".join(
        f"{score['scope']} {score['heat']:.2g}" for score in record["scores"] if score["scope"] in record["among"]
    )
    return (
        f"zo.scope=auto: {record['scope']} (heat at this rate, {HEAT:g} suits: {figures}; "
        f"{record['forward_pairs']} forward pairs)"
    )


def pairs_per_round(config: ExperimentConfig) -> int:
    """Forward pairs of a round along directions of their own: of all participants, or of one where they share them."""
    federation = config.federation
    if federation.seeds == "shared":
        return config.zo.directions
    return config.zo.directions * participant_count(federation.clients, federation.participants)


def _fixed(config: ExperimentConfig, scope: str) -> ExperimentConfig:
    return config.model_copy(update={"zo": config.zo.model_copy(update={"scope": scope})})


def _batch(setup: Setup, client: int, place: int) -> Batch:
    shards, size = setup.shards, setup.config.data.batch_size
    draws = uniforms(setup.config.seed, "probe", client, 0, (place + 1) * size)[place * size :]
    rows = (draws * len(shards.rows[client])).astype(np.int64)
    pad = int(setup.model.loaded.tokenizer.pad_token_id)
    return ClientBatches(setup.config, shards, pad, setup.model.device).batch(client, rows)
