"""Settings of differential privacy."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from zorba_ray.config.base import PathText, StrictModel

if TYPE_CHECKING:
    from zorba_ray.config.experiment import ExperimentConfig


class PrivacyConfig(StrictModel):
    """Noise on what clients report, so that a report says little about the data of its client."""

    clip: float | None = Field(default=None, ge=1e-9, le=1e6)
    """C, the largest Euclidean norm of the scalars of a client's report. Longer ones are shortened. It must be set."""
    noise_multiplier: float | None = Field(default=None, ge=1e-3, le=500)
    """z: the noise on each scalar has the standard deviation z · C. None: it follows from `target_epsilon`."""
    target_epsilon: float | None = Field(default=None, gt=0, le=1e4)
    """ε that no client exceeds. Without `noise_multiplier`, the noise is the smallest that keeps it over all rounds.
    With it, the run ends before the round that would exceed it."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """δ, the probability with which the promise may fail. It must be below 1 / `federation.clients`."""
    secret_file: PathText | None = None
    """A file with 64 hexadecimal digits, from which the noise is drawn. None: the run makes a secret of its own, in
    secret.key in its directory. With the same file, two runs of the same settings give the same SHA-256."""

    @model_validator(mode="after")
    def _complete(self) -> "PrivacyConfig":
        if self.clip is None:
            raise ValueError(
                "clip is not set: without a bound on a report no noise hides it; set privacy.clip, for a start to the "
                "median size of the scalars of a run without noise (scalar_rms in metrics.jsonl)"
            )
        if self.noise_multiplier is None and self.target_epsilon is None:
            raise ValueError(
                "neither noise_multiplier nor target_epsilon is set; set one of them, as in privacy.target_epsilon=8"
            )
        return self


def require_private(config: "ExperimentConfig") -> None:
    """Checks that nothing but noisy scalars tells of a client's data.

    Raises:
        ValueError: names the setting by which more would be told.
    """
    privacy = config.privacy
    if privacy is None:
        return
    if not config.spec.scalar_reports:
        raise ValueError(
            f"privacy with method={config.method}: noise is put on reports that are projected gradients and nothing "
            "else; take method=zorba or decomfl, or drop the section privacy"
        )
    if privacy.delta * config.federation.clients >= 1:
        raise ValueError(
            f"privacy.delta={privacy.delta:g} with federation.clients={config.federation.clients}: to publish the data "
            f"of one client in {1 / privacy.delta:.0f} would keep this promise; set it below 1 / federation.clients, "
            "such as privacy.delta=1e-5"
        )
    if config.zo.clip is not None:
        raise ValueError(
            f"zo.clip={config.zo.clip:g} with privacy.clip={privacy.clip:g}: the second bounds the scalars already; "
            "set zo.clip=null"
        )
    probed = {
        "zo.scope": (config.zo.scope, "auto"),
        "allocation.block_weights": (config.allocation.block_weights, "probe"),
    }
    for key, (value, by_probe) in probed.items():
        if value == by_probe:
            raise ValueError(
                f"{key}={value} with privacy: a probe asks clients for scalars without noise; name another value"
            )
    if config.data.label_shift:
        raise ValueError(
            f"data.label_shift={config.data.label_shift:g} with privacy: it corrects a client's loss by the label "
            "counts of all clients, which are told without noise; set data.label_shift=0"
        )
    if config.data.batch_tokens is not None:
        raise ValueError(
            f"data.batch_tokens={config.data.batch_tokens} with privacy: how many rows fill a batch tells their "
            "lengths without noise; set data.batch_tokens=null"
        )
