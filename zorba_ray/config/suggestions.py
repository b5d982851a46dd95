"""Suggestions for a key or name that does not exist."""

import difflib
import re
from collections.abc import Collection, Iterable

_BY_SETTING = {
    "zo.lr": "lr learning_rate eta step_size",
    "rounds": "epochs num_epochs num_train_epochs num_rounds n_rounds steps max_steps num_steps iterations",
    "zo.local_steps": "local_epochs",
    "zo.schedule": "scheduler lr_schedule lr_scheduler lr_scheduler_type",
    "zo.perturbation_scale": "mu eps zo_eps perturbation smoothing",
    "zo.directions": "num_directions num_perturbations perturbations queries",
    "federation.clients": "num_clients n_clients",
    "federation.participants": "clients_per_round fraction_fit client_fraction participation",
    "federation.spares": "over_selection overselection spare_clients",
    "federation.workers": "num_workers",
    "federation.gpus": "num_gpus",
    "federation.fleet": "vram budgets",
    "data.batch_size": "batch bs train_batch_size per_device_train_batch_size",
    "data.max_length": "max_len max_seq_len max_seq_length seq_len sequence_length",
    "data.path": "dataset dataset_name data.name train_file data_path",
    "data.label_words": "labels label_names class_names verbalizer",
    "data.prompt": "template prompt_template",
    "data.alpha": "dirichlet_alpha",
    "privacy.target_epsilon": "privacy.epsilon dp_epsilon",
    "privacy.noise_multiplier": "privacy.sigma privacy.noise",
    "privacy.clip": "max_grad_norm l2_norm_clip clipping_norm privacy.clip_norm",
    "model.path": "model_name model_name_or_path model_id model_path base_model checkpoint model.name",
    "model.lora.rank": "lora_rank lora_r",
    "model.lora.alpha": "lora_alpha",
    "memory.compute_dtype": "dtype torch_dtype precision",
    "eval.every": "eval_every eval_steps eval_interval",
    "method": "algorithm strategy",
    "seed": "random_seed",
}
_KNOWN_ELSEWHERE = {other: setting for setting, others in _BY_SETTING.items() for other in others.split()}
"""What other programs call a setting -> its key here."""


def nearest_setting(key: str, settings: Collection[str]) -> str | None:
    """The setting that `key` most likely means; None: no setting is near.

    Tried in this order: its name in other programs, its last part in another section, similar spelling.
    """
    section, _, last = key.lower().rpartition(".")
    elsewhere = _KNOWN_ELSEWHERE.get(key.lower()) or _KNOWN_ELSEWHERE.get(last)
    if elsewhere is not None:
        in_section = f"{section}.{elsewhere.rpartition('.')[2]}"  # as in method_settings.learning_rate
        return next((name for name in (in_section, elsewhere) if name in settings), None)
    ends = {name.rpartition(".")[2]: name for name in reversed(list(settings))}
    if last in ends:
        return ends[last]
    near = difflib.get_close_matches(key, settings, n=1, cutoff=0.6)
    return (
        near[0] if near else next((ends[end] for end in difflib.get_close_matches(last, ends, n=1, cutoff=0.7)), None)
    )


def meant(name: str, names: Iterable[str]) -> str:
    """'; did you mean NAME?', or ''. Names must have the same digits: qwen2.5-7b is never suggested for qwen2.5-3b."""
    alike = [other for other in names if re.sub(r"\D", "", other) == re.sub(r"\D", "", name)]
    near = difflib.get_close_matches(name.lower(), alike, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
