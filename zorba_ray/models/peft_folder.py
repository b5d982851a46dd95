"""Reads and writes adapters in PEFT format: adapter_config.json and adapter_model.safetensors.

The package PEFT is not needed. The format is that of peft 0.21, which `PeftModel.from_pretrained` reads:
`base_model.model.LAYER.lora_A.weight` is A [r, n], and `lora_B.weight` is B [m, r].
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from zorba_ray.config.model import LoraConfig
from zorba_ray.errors import ModelError
from zorba_ray.models.linear import is_transposed
from zorba_ray.models.lora import adapters_of
from zorba_ray.printable import first_line, listed, on_one_line, shown

_SETTINGS, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_SETTINGS_BYTES = 1 << 20
_PREFIX, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_SAID = frozenset({
    "peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version",
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "fan_in_fan_out", "init_lora_weights",
    "layers_to_transform", "layers_pattern", "megatron_core", "runtime_config", "qalora_group_size",
})  # fmt: skip
"""Settings that follow from the tensors' names and shapes, or do not change what an adapter computes."""
_PLAIN_STARTS = (True, False, "gaussian")
"""Values of init_lora_weights that do not change the base weights."""


def write_adapter(folder: Path, network: nn.Module, lora: LoraConfig, base: str, causal: bool) -> None:
    """Writes the adapters of `network` into `folder`.

    Args:
        base: `model.path`, the base model in adapter_config.json.

    Raises:
        ModelError: a kind of layer that PEFT cannot adapt.
    """
    tensors: dict[str, torch.Tensor] = {}
    layers: dict[str, nn.Module] = {}
    for name, leaf, down, up in adapters_of(network):
        layers[name] = leaf
        tensors[f"{_PREFIX}{name}{_DOWN}"] = down.detach().cpu().clone()
        tensors[f"{_PREFIX}{name}{_UP}"] = up.detach().cpu().clone()
        if not isinstance(leaf, nn.Linear) and not is_transposed(leaf):
            raise ModelError(
                f"{base}: PEFT cannot adapt a layer of type {type(leaf).__name__} ({name}); export with --merged"
            )
    alpha = int(lora.alpha) if lora.alpha.is_integer() else lora.alpha
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if causal else "FEATURE_EXTRACTION",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": _targets(network, layers),
        "fan_in_fan_out": any(map(is_transposed, layers.values())),
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read_adapter(network: nn.Module, lora: LoraConfig) -> None:
    """Fills the adapters of `network`, which `add_lora` has added, from the folder `lora.path`.

    Raises:
        ModelError: no such folder, damaged files, an adapter with another computation, or with other layers, rank or
            scale than in `model.lora`.
    """
    assert lora.path is not None
    folder = Path(lora.path).expanduser()

    def refused(why: str) -> ModelError:
        return ModelError(f"model.lora.path={lora.path}: {why}")

    settings = adapter_settings(folder, "model.lora.path", lora.path)
    if settings.get("peft_type") != "LORA":
        raise refused(f"the adapter is of type {shown(settings.get('peft_type'))}; only LORA is supported")
    odd = [
        name for name, value in settings.items() if value and name not in _SAID and (name, value) != ("bias", "none")
    ]
    if settings.get("init_lora_weights", True) not in _PLAIN_STARTS:
        odd.append("init_lora_weights")
    if odd:
        raise refused(
            f"the adapter computes more than (α/r) B A x ({on_one_line(odd[0])}={shown(settings[odd[0]])}); merge it "
            "into its base model (merge_and_unload), and train that"
        )
    for name, key, ours in (("r", "rank", lora.rank), ("lora_alpha", "alpha", lora.alpha)):
        if settings.get(name) != ours:
            raise refused(f"its {name} is {shown(settings.get(name))}; set model.lora.{key} to this value")
    unread = _tensors(folder / _WEIGHTS, refused)
    with torch.no_grad():
        for name, _, down, up in adapters_of(network):
            for ours, key in ((down, f"{_PREFIX}{name}{_DOWN}"), (up, f"{_PREFIX}{name}{_UP}")):
                stored = unread.pop(key, None)
                if stored is None:
                    raise refused(f"it has no {key}; set model.lora.targets to the layers that it adapts")
                if stored.shape != ours.shape or not bool(torch.isfinite(stored).all()):
                    raise refused(
                        f"{key} has shape {list(stored.shape)} and dtype {stored.dtype}; finite numbers of shape "
                        f"{list(ours.shape)} are needed; check that model.path is its base model"
                    )
                ours.copy_(stored)
    if unread:
        raise refused(
            f"it adapts more layers than model.lora.targets={lora.targets} ({listed(sorted(unread), 3)}); set "
            "model.lora.targets to the layers that it adapts"
        )


def is_adapter(folder: Path) -> bool:
    """Whether a folder is one of PEFT."""
    return (folder / _SETTINGS).is_file()


def adapter_settings(folder: Path, setting: str, value: str) -> dict[str, Any]:
    """The adapter_config.json of a folder; `setting` and `value` for messages.

    Raises:
        ModelError: there is none, or it is not a JSON object.
    """
    path = folder / _SETTINGS
    try:
        if path.stat().st_size > _SETTINGS_BYTES:
            raise ValueError(f"more than {_SETTINGS_BYTES >> 10} KiB")
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ModelError(
            f"{setting}={value}: {_SETTINGS} cannot be read ({why}); name a folder written by PEFT's save_pretrained"
        ) from error
    return settings


def _tensors(file: Path, refused: Any) -> dict[str, torch.Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except Exception as error:  # damaged files fail in many ways
        raise refused(
            f"{file.name} cannot be read ({first_line(error)}); save the adapter again, as safetensors"
        ) from error


def _targets(network: nn.Module, layers: dict[str, nn.Module]) -> list[str]:
    """The last parts of the layers' names, such as `q_proj`, if no other layers have them; else whole names."""
    ends = {name.rpartition(".")[2] for name in layers}
    named = {name for name, _ in network.named_modules() if name.rpartition(".")[2] in ends}
    return sorted(ends if named == set(layers) else layers)
