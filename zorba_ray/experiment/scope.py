"""`zo.scope: auto`: what is perturbed, chosen once before a run has a ledger, and read from the ledger afterwards.

The examples that the probe takes are those that a simulation has in this process. In a federation of separate machines
the same scalars would be asked of the clients, as a probe of the blocks asks them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    choose_scope,
    curvature_ratio,
    present,
    scope_curvatures,
    suited_rate,
)

PAIRS = 6
"""Forward pairs per set and client."""
CLIENTS = 4
"""Clients with the most examples, which are asked."""


@dataclass(frozen=True)
class ScopeProbe:
    """What forward pairs on one set of tensors at a time say of the sets."""

    curvatures: dict[Scope, float]
    """tr G_S of the sets that the model has, the largest set first."""
    lr: float
    """η that a set is to suit."""
    pairs_per_round: int
    forward_pairs: int
    """All that were taken."""

    @property
    def scope(self) -> Scope:
        """The set that suits the rate best."""
        return choose_scope(self.curvatures, self.lr, self.pairs_per_round)

    def suited_rate(self, scope: Scope) -> float | None:
        """The η that suits a measured set, by the curvature of the logits; None where they do not change."""
        return suited_rate(self.curvatures[scope], self.pairs_per_round)

    def line(self) -> str:
        """What was chosen and by which figures, for people."""
        ratios = {name: curvature_ratio(each, self.lr, self.pairs_per_round) for name, each in self.curvatures.items()}
        figures = ", ".join(f"{name} {ratio:.2g}" for name, ratio in ratios.items())
        return (
            f"zo.scope=auto: {self.scope} (curvature ratio at this rate, {SUITED_RATIO:g} suits: {figures}; "
            f"{self.forward_pairs} forward pairs)"
        )


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
    curvatures = scope_curvatures(setup.model, rule, zo.perturbation_scale, there, PAIRS, batches)
    return ScopeProbe(curvatures, config.zo.lr, pairs_per_round(config), PAIRS * len(asked) * len(there))


def with_scope(config: ExperimentConfig, device: str = "cpu") -> tuple[ExperimentConfig, ScopeProbe | None]:
    """The settings with what `auto` chose in its place, and what it was chosen by; both as they are without `auto`."""
    if config.zo.scope != "auto":
        return config, None
    low_rank = config.zo.family == "low_rank"  # its directions cannot take 1-D tensors alone
    probe = probe_scopes(config, [scope for scope in CHOICES if not low_rank or scope != "bias_norm"], device)
    return _fixed(config, probe.scope), probe


def resolved_scope(config: ExperimentConfig, run: RunDir, device: str) -> tuple[ExperimentConfig, str]:
    """`with_scope` of a run under `auto`: probed and written to its settings without a ledger, else the ledger's.

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
    pad = int(setup.model.loaded.tokenizer.pad_token_id)
    return ClientBatches(setup.config, shards, pad, setup.model.device).drawn(client, draws)
