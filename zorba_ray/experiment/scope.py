"""`zo.scope: auto`: chooses the tensors to perturb, before a run has a ledger. Later the choice is read from the
ledger.

Each set of tensors is tried at the run's rate: the steps of a few rounds are taken at once, from θ0, and the set that
lowers the validation loss most is chosen. A large set learns faster at a small rate, and is destroyed by a large one.
"""

from dataclasses import dataclass

from zorba_ray.artifacts import RunDir, write_json
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import AllocationInfeasible, ConfigError
from zorba_ray.experiment.rounds_at_start import RoundsAtStart, prepared_at_start
from zorba_ray.models import Scope
from zorba_ray.protocol.ledger import read_ledger

CHOICES: tuple[Scope, ...] = ("all", "matrices", "bias_norm")
"""The sets to choose from, the largest first."""


@dataclass(frozen=True)
class ScopeProbe:
    """What each set of tensors does to the validation loss."""

    changes: dict[Scope, float | None]
    """Set -> change of the loss; None: nothing is left of the model."""
    passes: int
    """Forward passes of all clients together."""

    @property
    def scope(self) -> Scope:
        """The set that lowers the loss most; of equal ones the largest."""
        changes: dict[Scope, float] = {scope: change for scope, change in self.changes.items() if change is not None}
        return min(changes, key=changes.__getitem__)

    @property
    def figures(self) -> str:
        """The change by every set, for the user."""
        return ", ".join(
            f"{name} {'destroys the model' if change is None else f'{change:+.4f}'}"
            for name, change in self.changes.items()
        )

    def line(self) -> str:
        """A line for the user: the choice and its figures."""
        return (
            f"zo.scope=auto: {self.scope} lowers the validation loss most at this rate ({self.figures}; "
            f"{self.passes:,} forward passes)"
        )


def probe_scopes(config: ExperimentConfig, device: str = "cpu") -> ScopeProbe:
    """Tries those of CHOICES that the model has and that fit the clients' memory.

    Raises:
        ConfigError: no set lowers the loss; names the rate.
        AllocationInfeasible: no set fits the clients' memory.
        DataError, ModelError: as `prepare`.
    """
    changes: dict[Scope, float | None] = {}
    passes, unfit = 0, None
    for scope in CHOICES:
        if scope == "bias_norm" and config.zo.family == "low_rank":
            continue  # with low rank, vectors alone cannot be the scope
        setup = prepared_at_start(_fixed(config, scope), device)
        if not all(setup.manifest.sizes(scope)):
            continue
        try:
            rounds = RoundsAtStart(setup)
        except AllocationInfeasible as error:
            unfit = error
            continue
        after = rounds.after(config.zo.lr)
        changes[scope] = None if after is None else after.loss - rounds.start.loss
        passes += rounds.passes
    if unfit is not None and not changes:
        raise unfit
    probe = ScopeProbe(changes, passes)
    if not any(change is not None and change < 0 for change in changes.values()):
        raise ConfigError(
            f"zo.lr={config.zo.lr:g} with zo.scope=auto: no set of tensors lowers the validation loss at this rate "
            f"({probe.figures}). Set a smaller rate, or name a scope"
        )
    return probe


def with_scope(config: ExperimentConfig, device: str = "cpu") -> tuple[ExperimentConfig, ScopeProbe | None]:
    """(the settings with the chosen scope in place of `auto`, its probe). Without `auto`: (config, None)."""
    if config.zo.scope != "auto":
        return config, None
    probe = probe_scopes(config, device)
    return _fixed(config, probe.scope), probe


def resolved_scope(config: ExperimentConfig, run: RunDir, device: str) -> tuple[ExperimentConfig, str]:
    """The scope of a run with `auto`. Without a ledger it is probed and written to the run's settings; else it is read
    from the ledger.

    Returns (settings, a line for the user with the choice).

    Raises:
        LedgerError: the ledger is damaged.
        AllocationInfeasible, ConfigError, DataError, ModelError: as `probe_scopes`.
    """
    if run.ledger.exists():
        scope = read_ledger(run.ledger).header.scope
        return _fixed(config, scope), f"zo.scope=auto: {scope}, as chosen when this run began"
    resolved, probe = with_scope(config, device)
    assert probe is not None
    write_json(run.config, resolved.resolved())
    return resolved, probe.line()


def _fixed(config: ExperimentConfig, scope: str) -> ExperimentConfig:
    return config.model_copy(update={"zo": config.zo.model_copy(update={"scope": scope})})
