"""How large a network may be that is built from somebody's settings: no larger than its weights can fill.

transformers builds a network on torch's meta device first, where tensors take no memory. What is registered there is
counted as it comes, so that a hostile size ends the building, whatever setting it stands in.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules import module as hooks

from zorba_ray.errors import ModelError
from zorba_ray.models.weight_files import Weights

_SPARE_ELEMENTS = 1 << 22
"""Parameters beyond those of the files: heads and poolers that are built and not used."""
_SPARE_MODULES = 10_000
_MODULES_PER_TENSOR = 8
_MODULES = 300_000
"""Where only settings are known: the largest mixtures of experts have 100,000."""
_BUFFER_BYTES = 128 << 20
"""Tables that are computed (masks, positions), where the weights are smaller than that."""


@contextlib.contextmanager
def within(weights: Weights | None, label: str) -> Iterator[None]:
    """A network that is built inside on the meta device has no more than `weights` (None: not known) can fill.

    Raises:
        ModelError: it has more; at the module or tensor with which it would.
    """
    counts = {"modules": 0, "elements": 0, "bytes": 0}
    most: dict[str, float] = {"modules": _MODULES, "elements": float("inf"), "bytes": float("inf")}
    if weights is not None:
        # Tied weights are built twice, and joined later.
        most["elements"] = 2 * weights.elements + _SPARE_ELEMENTS
        most["modules"] = _MODULES_PER_TENSOR * len(weights.tensors) + _SPARE_MODULES
        most["bytes"] = max(_BUFFER_BYTES, weights.bytes)

    def count(what: str, amount: int, name: str) -> None:
        counts[what] += amount
        if counts[what] > most[what]:
            held = "" if weights is None else f", and the weights have {weights.bytes:,} bytes"
            raise ModelError(
                f"model.path={label}: config.json makes a network of more than {most[what]:,.0f} {_WORDS[what]} (at "
                f"{name[:80]!r}){held}; take config.json and weights from the same model"
            )

    def on_module(_: Any, name: str, child: Any) -> None:
        if child is not None:
            count("modules", 1, name)

    def on_parameter(_: Any, name: str, parameter: Any) -> None:
        if isinstance(parameter, torch.Tensor) and parameter.device.type == "meta":
            count("elements", parameter.numel(), name)

    def on_buffer(_: Any, name: str, buffer: Any) -> None:
        if isinstance(buffer, torch.Tensor) and buffer.device.type == "meta":
            count("bytes", buffer.numel() * buffer.element_size(), name)

    handles = [
        hooks.register_module_module_registration_hook(on_module),
        hooks.register_module_parameter_registration_hook(on_parameter),
        hooks.register_module_buffer_registration_hook(on_buffer),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_WORDS = {"modules": "modules", "elements": "parameters", "bytes": "bytes of tables"}
