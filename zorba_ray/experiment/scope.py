"""`zo.scope: auto`: chooses the tensors to perturb, before a run has a ledger. Later the choice is read from the
ledger.

The probe takes its examples in this process, as a simulation can. A real federation would ask clients for the same
scalars, as in the block probe.
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
"""Forward pairs per set of tensors and client."""
CLIENTS = 4
"""Number of clients in the probe: those with the most examples."""


@dataclass(frozen=True)
class ScopeProbe:
    """The curvature of each set of tensors, from forward pairs on one set at a time."""

    curvatures: dict[Scope, float]
    """tr G_S of the sets that the model has, the largest set first."""
    lr: float
    """The run's η, which the chosen set must suit."""
    pairs_per_round: int
    forward_pairs: int
    """Number of forward pairs of the probe."""

    @property
    def scope(self) -> Scope:
        """The set that suits the rate best."""
        return choose_scope(self.curvatures, self.lr, self.pairs_per_round)

    def suited_rate(self, scope: Scope) -> float | None:
        """The η that suits a measured set, by the curvature of the logits; None if the logits do not change."""
        return suited_rate(self.curvatures[scope], self.pairs_per_round)

    def line(self) -> str:
        """A line for the user: the choice and its figures."""
        ratios = {
            name: curvature_ratio(curvature, self.lr, self.pairs_per_round)
            for name, curvature in self.curvatures.items()
        }
        figures = ", ".join(f"{name} {ratio:.2g}" for name, ratio in ratios.items())
        return (
            f"zo.scope=auto: {self.scope} is nearest to a curvature ratio of {SUITED_RATIO:g} at this rate ({figures}; "
            f"{self.forward_pairs} forward pairs)"
        )


def probe_scopes(config: ExperimentConfig, kinds: Sequence[Scope], device: str = "cpu") -> ScopeProbe:
    """Measures those of `kinds` that the model has.

    Raises:
        ConfigError, DataError, ModelError: as `prepare`.
    """
    # With dense directions, no budgets and all blocks on the device, the result depends only on θ and the data.
    scope = "all" if config.zo.scope == "auto" else config.zo.scope
    dense = {"rank": None, "directions_per": "batch", "examples_per_direction": 1}
    zo = config.zo.model_copy(update=dense | {"difference": "central", "scope": scope})
    federation = config.federation.model_copy(update={"fleet": None})
    setup = prepare(config.model_copy(update={"zo": zo, "federation": federation}), device)
    largest = sorted(range(len(setup.samples)), key=lambda client: (-setup.samples[client], client))[:CLIENTS]
    # A method with one client takes several independent batches of it instead.
    probed = sorted(largest) if len(largest) > 1 else largest * CLIENTS
    batches = [_batch(setup, client, number) for number, client in enumerate(probed)]
    scopes, rule = present(setup.manifest, kinds), rule_of(setup.header)
    curvatures = scope_curvatures(setup.model, rule, zo.perturbation_scale, scopes, PAIRS, batches)
    return ScopeProbe(curvatures, config.zo.lr, pairs_per_round(config), PAIRS * len(probed) * len(scopes))


def with_scope(config: ExperimentConfig, device: str = "cpu") -> tuple[ExperimentConfig, ScopeProbe | None]:
    """(the settings with the chosen scope in place of `auto`, its probe). Without `auto`: (config, None)."""
    if config.zo.scope != "auto":
        return config, None
    low_rank = config.zo.family == "low_rank"  # with low rank, vectors alone cannot be the scope
    probe = probe_scopes(config, [scope for scope in CHOICES if not low_rank or scope != "bias_norm"], device)
    return _fixed(config, probe.scope), probe


def resolved_scope(config: ExperimentConfig, run: RunDir, device: str) -> tuple[ExperimentConfig, str]:
    """The scope of a run with `auto`. Without a ledger it is probed and written to the run's settings; else it is read
    from the ledger.

    Returns (settings, a line for the user with the choice).

    Raises:
        LedgerError: the ledger is damaged.
        ConfigError, DataError, ModelError: as `prepare`.
    """
    if run.ledger.exists():
        scope = read_ledger(run.ledger).header.scope
        return _fixed(config, scope), f"zo.scope=auto: {scope}, as chosen when this run began"
    resolved, probe = with_scope(config, device)
    assert probe is not None
    write_json(run.config, resolved.resolved())
    return resolved, probe.line()


def pairs_per_round(config: ExperimentConfig) -> int:
    """Forward pairs of a round along different directions: those of all participants, or of one if they share them."""
    federation = config.federation
    if federation.seeds == "shared":
        return config.zo.directions
    return config.zo.directions * participant_count(federation.clients, federation.participants)


def _fixed(config: ExperimentConfig, scope: str) -> ExperimentConfig:
    return config.model_copy(update={"zo": config.zo.model_copy(update={"scope": scope})})


def _batch(setup: Setup, client: int, number: int) -> Batch:
    shards, size = setup.shards, setup.config.data.batch_size
    draws = uniforms(setup.config.seed, "probe", client, 0, (number + 1) * size)[number * size :]
    pad = int(setup.model.loaded.tokenizer.pad_token_id)
    return ClientBatches(setup.config, shards, pad, setup.model.device).drawn(client, draws)
