"""`zo.scope: auto`: what is perturbed, chosen once before a run has a ledger, and read from the ledger afterwards.

The examples that the probe takes are those that a simulation has in this process. In a federation of separate machines
the same scalars would be asked of the clients, as a probe of the blocks asks them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    SUITED_RATIO,
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


@dataclass(frozen=True)
class ScopeProbe:
    """What forward pairs on one set of tensors at a time say of the sets."""

    scores: Sequence[ScopeScore]
    """Of the sets that the model has."""
    clients: Sequence[int]
    """Who was asked, once per batch."""
    lr: float
    """η that a set is to suit."""
    pairs_per_round: int

    @property
    def scope(self) -> Scope:
        """The set that suits the rate best."""
        return choose_scope(self.scores, self.lr, self.pairs_per_round)

    @property
    def forward_pairs(self) -> int:
        """All that were taken."""
        return PAIRS * len(self.clients) * len(self.scores)

    def suited_rate(self, scope: str) -> float | None:
        """The η that suits a measured set, by the curvature of the logits; None where they do not change."""
        return next(score for score in self.scores if score.scope == scope).suited(self.pairs_per_round)

    def record(self) -> dict[str, Any]:
        """scope.json."""
        return {
            "scope": self.scope,
            "among": [score.scope for score in self.scores],
            "pairs": PAIRS,
            "clients": list(self.clients),
            "forward_pairs": self.forward_pairs,
            "scores": [{**asdict(score), "curvature_ratio": self._ratio(score)} for score in self.scores],
        }

    def line(self) -> str:
        """What was chosen and by which figures, for people."""
        figures = ", ".join(f"{score.scope} {self._ratio(score):.2g}" for score in self.scores)
        return (
            f"zo.scope=auto: {self.scope} (curvature ratio at this rate, {SUITED_RATIO:g} suits: {figures}; "
            f"{self.forward_pairs} forward pairs)"
        )

    def _ratio(self, score: ScopeScore) -> float:
        return score.curvature_ratio(self.lr, self.pairs_per_round)


def probe_scopes(config: ExperimentConfig, kinds: Sequence[Scope], device: str = "cpu") -> ScopeProbe:
    """Measures those of `kinds` that the model has.

    Raises:
        ConfigError, DataError, ModelError: as `prepare`.
    """
    # Dense directions, no budgets and all blocks at home: what is measured belongs to θ and the data alone.
    scope = "all" if config.zo.scope == "auto" else config.zo.scope
    zo = config.zo.model_copy(update={"rank": None, "difference": "central", "scope": scope})
    federation = config.federation.model_copy(update={"fleet": None})
    setup = prepare(config.model_copy(update={"zo": zo, "federation": federation}), device)
    largest = sorted(range(len(setup.samples)), key=lambda client: (-setup.samples[client], client))[:CLIENTS]
    # A central method's one client gives independent batches instead.
    asked = sorted(largest) if len(largest) > 1 else largest * CLIENTS
    batches = [_batch(setup, client, place) for place, client in enumerate(asked)]
    there, rule = present(setup.manifest, kinds), rule_of(setup.header)
    scores = scope_scores(setup.model, rule, zo.perturbation_scale, there, PAIRS, batches)
    return ScopeProbe(scores, asked, config.zo.lr, pairs_per_round(config))


def with_scope(config: ExperimentConfig, device: str = "cpu") -> tuple[ExperimentConfig, ScopeProbe | None]:
    """The settings with what `auto` chose in its place, and what it was chosen by; both as they are without `auto`."""
    if config.zo.scope != "auto":
        return config, None
    probe = probe_scopes(config, WITH_MATRICES if config.zo.family == "low_rank" else CHOICES, device)
    return _fixed(config, probe.scope), probe


def resolved_scope(config: ExperimentConfig, run: RunDir, device: str) -> tuple[ExperimentConfig, str]:
    """`with_scope` of a run under `auto`: probed and written to its directory without a ledger, else the ledger's.

    Returns the settings and a line that says what was chosen.

    Raises:
        LedgerError: the ledger is damaged.
        ConfigError, DataError, ModelError: as `prepare`.
    """
    if run.ledger.exists():
        scope = read_ledger(run.ledger).header.scope
        return _fixed(config, scope), f"zo.scope=auto: {scope}, as this run began"
    resolved, probe = with_scope(config, device)
    assert probe is not None
    write_json(run.scope, probe.record())
    write_json(run.config, resolved.resolved())
    return resolved, probe.line()


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
