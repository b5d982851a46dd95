"""What makes a run's figures mean less than they seem to: told at the start and at the end, kept in summary.json."""

from collections.abc import Sequence
from pathlib import Path

import torch

from zorba_ray.artifacts import Eval
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.build import Setup
from zorba_ray.models.gguf import packed_kinds
from zorba_ray.models.load import locate
from zorba_ray.printable import printable
from zorba_ray.zo.resolution import resolution

_MANY, _NEARLY_ALL = 0.05, 0.9
"""Shares of the weights that μ does not move: from the first on a warning, from the second on an error."""
_RISE = 1.01
"""Of the start's validation loss; what is less may be noise."""


def start_warnings(setup: Setup) -> list[str]:
    """Sentences with numbers, known before the first round: about the settings, then about the data.

    Raises:
        ConfigError: no run can make sense.
    """
    return [*_below_resolution(setup), *_packed(setup.config), *setup.doubts]


def end_warnings(config: ExperimentConfig, evals: Sequence[Eval]) -> list[str]:
    """Sentences with numbers about what the evaluations show.

    Args:
        evals: records of metrics.jsonl, in file order.
    """
    constant = [text for split in ("validation", "test") for text in _constant(config, split, evals)]
    return [*_worse(evals), *constant]


def _below_resolution(setup: Setup) -> list[str]:
    config = setup.config
    if config.spec.backward:
        return []
    half = setup.accelerator == "cuda" and config.memory.compute_dtype == "bf16"
    dtype = torch.bfloat16 if half else torch.float32
    scale = config.zo.perturbation_scale
    found = resolution(setup.model.replica, config.zo.fixed_scope, scale, dtype)
    if found.share < _MANY:
        return []
    text = (
        f"zo.perturbation_scale={scale:g}: θ ± μ is θ itself for {100 * found.share:.3g} % of the weights in scope "
        f"({found.unmoved:,} of {found.looked_at:,} looked at, zo.scope={config.zo.fixed_scope}, "
        f"{config.memory.compute_dtype if half else 'fp32'})"
    )
    if found.share >= _NEARLY_ALL:
        raise ConfigError(f"{text}, so that no difference can be measured: 99 % move from {found.enough:.1g} on")
    return [f"{text}; 99 % move from {found.enough:.1g} on"]


def _packed(config: ExperimentConfig) -> list[str]:
    folder, local = locate(config.model.path)
    kinds = packed_kinds(Path(folder)) if local else None
    if kinds is None:
        return []
    return [
        f"the weights of {config.model.path} were unpacked from {printable(kinds)[:80]}: the figures are of these, and "
        "not of the model in 16 bits"
    ]


def _worse(evals: Sequence[Eval]) -> list[str]:
    own = [record for record in evals if record.split == "validation"]
    if not own or own[0].round != 0:
        return []
    before, now = own[0].reward, own[-1].reward
    if before is not None and now is not None:
        if now >= before:
            return []
        return [
            f"the mean validation reward fell from {before:.4f} at the start to {now:.4f} after round {own[-1].round}: "
            "the run did the model no good"
        ]
    if own[-1].loss <= _RISE * own[0].loss:
        return []
    return [
        f"the validation loss rose from {own[0].loss:.4f} at the start to {own[-1].loss:.4f} after round "
        f"{own[-1].round}: the run made the model worse"
    ]


def _constant(config: ExperimentConfig, split: str, evals: Sequence[Eval]) -> list[str]:
    """Whether all rows of a split get one label, though it has several."""
    own = [record for record in evals if record.split == split and record.predicted_rows is not None]
    if not own or not _is_constant(own[-1]):
        return []
    last, words = own[-1], config.data.label_words
    label = last.predicted_label or 0
    name = repr(words[label]) if label < len(words) else str(label)
    text = (
        f"all {last.items or 0:,} {split} rows are given the label {name} after round {last.round}, though they have "
        f"{last.labels} labels"
    )
    if last.round == 0:
        return [text]
    return [f"{text}; so they were at the start" if _is_constant(own[0]) else f"{text}; at the start they were not"]


def _is_constant(record: Eval) -> bool:
    return record.predicted_rows == record.items and (record.labels or 0) > 1
