"""Warnings: reasons to doubt a run's figures. They are shown at the start and the end, and stand in summary.json."""

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
"""If μ leaves at least this share of the weights unchanged: the first is a warning, the second an error."""
_RISE = 1.01
"""A final validation loss above this multiple of the start's is a warning. A smaller rise may be noise."""


def start_warnings(setup: Setup) -> list[str]:
    """Warnings before the first round, each a sentence with numbers: about the settings, then about the data.

    Raises:
        ConfigError: a run with these settings cannot learn.
    """
    return [*_attacked(setup.config), *_below_resolution(setup), *_packed(setup.config), *setup.doubts]


def end_warnings(config: ExperimentConfig, evals: Sequence[Eval]) -> list[str]:
    """Warnings from the evaluations, each a sentence with numbers.

    Args:
        evals: records of metrics.jsonl, in file order.
    """
    constant = [text for split in ("validation", "test") for text in _constant(config, split, evals)]
    return [*_worse(evals), *constant]


def _attacked(config: ExperimentConfig) -> list[str]:
    text = config.attacked_text
    return [f"{text}: the figures are not those of an honest federation"] if text else []


def _below_resolution(setup: Setup) -> list[str]:
    config = setup.config
    if config.spec.backward:
        return []
    half = setup.accelerator == "cuda" and config.memory.compute_dtype == "bf16"
    dtype = torch.bfloat16 if half else torch.float32
    scale = config.zo.perturbation_scale
    result = resolution(setup.model.replica, config.zo.fixed_scope, scale, dtype)
    if result.share < _MANY:
        return []
    text = (
        f"zo.perturbation_scale={scale:g} is so small that θ ± μ rounds to θ for {100 * result.share:.3g} % of the "
        f"weights in scope ({result.unmoved:,} of {result.looked_at:,} checked, zo.scope={config.zo.fixed_scope}, "
        f"{config.memory.compute_dtype if half else 'fp32'})"
    )
    remedy = f"with {result.enough:.1g} or more, 99 % of them change"
    if result.share >= _NEARLY_ALL:
        raise ConfigError(f"{text}, so that no difference can be measured: {remedy}")
    return [f"{text}; {remedy}"]


def _packed(config: ExperimentConfig) -> list[str]:
    folder, local = locate(config.model.path)
    kinds = packed_kinds(Path(folder)) if local else None
    if kinds is None:
        return []
    return [
        f"the weights of {config.model.path} were quantised ({printable(kinds)[:80]}) and are unpacked here: the "
        "figures are those of the quantised weights, not of the original model in 16 bits"
    ]


def _worse(evals: Sequence[Eval]) -> list[str]:
    validation = [record for record in evals if record.split == "validation"]
    if not validation or validation[0].round != 0:
        return []
    before, now = validation[0].reward, validation[-1].reward
    if before is not None and now is not None:
        if now >= before:
            return []
        return [
            f"the mean validation reward fell from {before:.4f} at the start to {now:.4f} after round "
            f"{validation[-1].round}: the run made the model worse"
        ]
    if validation[-1].loss <= _RISE * validation[0].loss:
        return []
    return [
        f"the validation loss rose from {validation[0].loss:.4f} at the start to {validation[-1].loss:.4f} after round "
        f"{validation[-1].round}: the run made the model worse"
    ]


def _constant(config: ExperimentConfig, split: str, evals: Sequence[Eval]) -> list[str]:
    """A warning if all rows of a split are given the same label, although the split has several."""
    evaluations = [record for record in evals if record.split == split and record.predicted_rows is not None]
    if not evaluations or not _is_constant(evaluations[-1]):
        return []
    last, words = evaluations[-1], config.data.label_words
    label = last.predicted_label or 0
    name = repr(words[label]) if label < len(words) else str(label)
    text = (
        f"all {last.items or 0:,} {split} rows are given the label {name} after round {last.round}, although they have "
        f"{last.labels} labels"
    )
    if last.round == 0:
        return [text]
    at_start = "this was so at the start, too" if _is_constant(evaluations[0]) else "at the start this was not so"
    return [f"{text}; {at_start}"]


def _is_constant(record: Eval) -> bool:
    return record.predicted_rows == record.items and (record.labels or 0) > 1
