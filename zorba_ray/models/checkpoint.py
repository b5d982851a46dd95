"""Checks that a checkpoint is complete: every weight that reaches the loss must come from the files."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from zorba_ray.errors import ModelError
from zorba_ray.models.folder import Stored
from zorba_ray.models.loaded import LoadedModel

_LISTED = 6
"""Most keys in a message."""
_TABLES = re.compile(
    r"(inv_freq|masked_bias|causal_mask|attn_mask|position_ids|token_type_ids|num_batches_tracked|relative_position_index)$"
)
"""Tables that earlier versions of transformers saved together with the weights. Now they are computed."""
_WHOLE = ("I64", "I32", "int64", "int32")
_STEM = re.compile(r"embed|wpe|wte|norm|ln_|project|position", re.IGNORECASE)
_ADAPTER = re.compile(r"(^|\.)(lora_|ia3_|adapter)")


def require_whole(loaded: LoadedModel, report: Mapping[str, Any], stored: Mapping[str, Stored]) -> None:
    """Checks that the files have every weight that reaches the loss, with the shape by config.json, as finite numbers
    that can be trained, and that no weight of the model's computation was ignored.

    Args:
        report: the loading information of transformers.
        stored: tensors of the files.

    Raises:
        ModelError: a check fails; lists the keys.
    """
    for what, keys, more in _faults(loaded, report, stored):
        if keys:
            raise ModelError(f"model.path={loaded.label}: {what} {_listed(sorted(keys))}{more}")
    for name, tensor in loaded.network.state_dict().items():
        if name not in loaded.unused and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"model.path={loaded.label}: {name} has NaN or infinite numbers; the files are damaged, download them "
                "again"
            )


def _faults(
    loaded: LoadedModel, report: Mapping[str, Any], stored: Mapping[str, Stored]
) -> Iterator[tuple[str, list[str], str]]:
    """(fault, keys with this fault, remedy), the worst first. Without keys there is no such fault."""
    yield (
        "weights of another shape than in config.json:",
        [f"{name} {list(stored)} for {list(expected)}" for name, stored, expected in report["mismatched_keys"]],
        "; use config.json and weights of the same model",
    )
    missing = sorted(key for key in map(str, report["missing_keys"]) if key not in loaded.unused)
    unexpected = sorted(map(str, report["unexpected_keys"]))
    extra = f"; they have {_listed(unexpected)}, which the model does not know" if unexpected else ""
    yield (
        "the files lack weights that the model needs:",
        missing,
        f"{extra}{_renamed(missing, unexpected)}. Training does not start from random weights: use a complete "
        "checkpoint, or save the model again with save_pretrained",
    )
    yield (
        "weights in numbers that cannot be trained:",
        [
            f"{key} ({tensor.kind})"
            for key, tensor in stored.items()
            if not tensor.trainable and key not in unexpected and not _is_table(key, loaded.network, tensor.kind)
        ],
        "; use the model in 16 or 32 bits",
    )
    yield (
        "the files have weights of the blocks, embeddings, norms or output layer that this architecture does not use:",
        [key for key in unexpected if _belongs(key, loaded, stored)],
        "; without them it would be another model: check that config.json belongs to this model, and merge adapters "
        "into the weights first",
    )


def _listed(keys: list[str]) -> str:
    others = len(keys) - _LISTED
    return ", ".join(key[:120] for key in keys[:_LISTED]) + (f" and {others} more" if others > 0 else "")


def _renamed(missing: list[str], unexpected: list[str]) -> str:
    """A hint if the keys of the files only differ from the missing ones by a prefix; else ''."""
    for key in unexpected:
        for name in missing:
            if key.endswith(name) and key != name:
                prefix = key.removesuffix(name)
                return f" (keys in the files begin with {prefix!r}: remove this prefix, or save the unwrapped model)"
    return ""


def _belongs(key: str, loaded: LoadedModel, stored: Mapping[str, Stored]) -> bool:
    """Whether an unused weight of the files belongs to the model's computation: it is a weight of a block, another
    tensor of a layer that runs, or a layer next to the embeddings. Heads of other tasks and towers for other inputs do
    not belong to it."""
    network: Any = loaded.network
    if _ADAPTER.search(key):
        return True
    name = _within(key, network, stored)
    if name is None or _is_table(name, network):
        return False
    if re.match(rf"{re.escape(loaded.blocks_name)}\.\d+\.", name):
        return True
    layer = name.rpartition(".")[0]
    if (owner := _module(network, layer)) is not None:
        read = [f"{layer}.{parameter}" for parameter in owner._parameters]
        return any(tensor not in loaded.unused for tensor in read)
    parent, _, last = layer.rpartition(".")
    beside_backbone = bool(parent) or network.base_model is network
    return beside_backbone and _module(network, parent) is not None and _STEM.search(last) is not None


def _within(key: str, network: Any, stored: Mapping[str, Stored]) -> str | None:
    """The name of a key of the files in the network; None: the key is of a head, which the network does not have.

    Checkpoints of a model with a head have a prefix before the names of the backbone; those of a backbone alone do not.
    """
    prefix = f"{network.base_model_prefix}."
    bare = network.base_model is network
    prefixed = prefix != "." and any(name.startswith(prefix) for name in stored)
    if bare:
        if not prefixed:
            return key
        return key.removeprefix(prefix) if key.startswith(prefix) else None
    return key if prefixed else f"{prefix}{key}"


def _is_table(key: str, network: Any, kind: str = "") -> bool:
    """Whether a tensor of the files is a mask, or a table of positions, tokens or experts, and not a weight."""
    if _TABLES.search(key):
        return True
    prefix = f"{network.base_model_prefix}."
    for name in (key, key.removeprefix(prefix), f"{prefix}{key}"):
        layer, _, tensor_name = name.rpartition(".")
        owner = _module(network, layer)
        if owner is not None:
            # "bias" is a parameter in a layer; in a module with child layers it is the causal mask of old attentions.
            mask = (
                tensor_name == "bias"
                and tensor_name not in owner._parameters
                and next(owner.children(), None) is not None
            )
            return mask or tensor_name in owner._buffers
    return kind in _WHOLE  # integers are not weights, whatever their name


def _module(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None
