"""How large a network may be that is built from somebody's settings: no larger than its weights can fill.

transformers builds a network on torch's meta device first, where tensors take no memory. What is registered there is
counted as it comes, so that a hostile size ends the building, whatever setting it stands in. Some settings are sizes of
tables that are made while the network runs (MPT's positions, Mamba's chunks); those end its first pass.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

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
_TABLE_ELEMENTS = 1 << 26


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


class SmallTables(TorchDispatchMode):
    """Inside, no function of torch makes a tensor of more than 2^26 elements out of numbers alone."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._label = label

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        size = _made(func.overloadpacket.__name__, args)
        if size > _TABLE_ELEMENTS:
            raise ModelError(
                f"model.path={self._label}: on a few tokens the model makes a table of {size:.3g} numbers; see that "
                "the sizes in config.json (positions, windows, chunks) are this model's"
            )
        return func(*args, **(kwargs or {}))


def _made(name: str, args: Any) -> float:
    """Elements of what a function makes of sizes; 0 where it makes nothing of sizes."""
    numbers = [value for value in args if isinstance(value, (int, float))]
    if name in ("arange", "linspace") and numbers:
        if name == "linspace":
            return float(numbers[-1])
        start, end, step = (0, *numbers, 1) if len(numbers) == 1 else (*numbers, 1)[:3]
        return abs(float(end) - float(start)) / (abs(float(step)) or 1.0)
    sizes = next((value for value in args if isinstance(value, (list, tuple)) and value), None)
    if sizes is None or not all(isinstance(size, int) for size in sizes):
        return 0.0
    if name in ("zeros", "ones", "full", "empty", "rand", "randn", "new_zeros", "new_ones", "new_full", "new_empty"):
        return float(math.prod(sizes))
    if name == "constant_pad_nd":
        shape = list(args[0].shape)
        for axis in range(len(sizes) // 2):
            shape[-1 - axis] += sizes[2 * axis] + sizes[2 * axis + 1]
        return float(math.prod(shape))
    if name == "repeat":
        return float(math.prod(sizes)) * args[0].numel()
    return 0.0


_WORDS = {"modules": "modules", "elements": "parameters", "bytes": "bytes of tables"}
