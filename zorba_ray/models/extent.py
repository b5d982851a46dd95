"""Limits the size of a network that is built from a foreign config.json: it must not be larger than its weights.

transformers first builds a network on torch's meta device, where tensors take no memory. Tensors are counted there as
they are registered, so that a hostile size stops the construction, in whatever setting it is. Some settings are sizes
of tables that are made while the network runs (MPT's positions, Mamba's chunks); such a size stops the first pass.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

from zorba_ray.errors import ModelError
from zorba_ray.models.folder import Weights

_SPARE_ELEMENTS = 1 << 22
"""Allowed parameters in addition to those of the files: heads and poolers that are built but not used."""
_SPARE_MODULES = 10_000
_MODULES_PER_TENSOR = 8
_MODULES = 300_000
"""Most modules if the weights are not known; the largest mixtures of experts have 100,000."""
_BUFFER_BYTES = 128 << 20
"""Allowed bytes of computed tables (masks, positions), if the weights are smaller."""
_TABLE_ELEMENTS = 1 << 26
_OF_SIZES = frozenset(
    {"zeros", "ones", "full", "empty", "rand", "randn", "new_zeros", "new_ones", "new_full", "new_empty"}
)


@contextlib.contextmanager
def within(weights: Weights | None, label: str) -> Iterator[None]:
    """Inside this context, a network on the meta device must not be larger than `weights` (None: not known).

    Raises:
        ModelError: it is larger; names the module or tensor at which the limit is exceeded.
    """
    known, modules, elements, size = "", float(_MODULES), float("inf"), float("inf")
    if weights is not None:
        known = f", and the weights have {weights.bytes:,} bytes"
        modules = _MODULES_PER_TENSOR * len(weights.tensors) + _SPARE_MODULES
        elements = 2 * weights.elements + _SPARE_ELEMENTS  # tied weights are built twice, and joined later
        size = max(_BUFFER_BYTES, weights.bytes)

    def counted(what: str, most: float, amount: Callable[[Any], int]) -> Callable[[Any, str, Any], None]:
        total = 0

        def count(_: Any, name: str, part: Any) -> None:
            nonlocal total
            total += amount(part)
            if total > most:
                raise ModelError(
                    f"model.path={label}: config.json makes a network of more than {most:,.0f} {what} (at "
                    f"{name[:80]!r}){known}; use config.json and weights of the same model"
                )

        return count

    handles = [
        hooks.register_module_module_registration_hook(counted("modules", modules, lambda part: part is not None)),
        hooks.register_module_parameter_registration_hook(
            counted("parameters", elements, lambda part: part.numel() if _is_meta(part) else 0)
        ),
        hooks.register_module_buffer_registration_hook(
            counted("bytes of tables", size, lambda part: part.nbytes if _is_meta(part) else 0)
        ),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_meta(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.device.type == "meta"


class SmallTables(TorchDispatchMode):
    """Inside this context, torch functions that make a tensor from sizes must not make more than 2^26 elements."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._label = label

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        size = _made(func.overloadpacket.__name__, args)
        if size > _TABLE_ELEMENTS:
            raise ModelError(
                f"model.path={self._label}: for a few tokens the model makes a table of {size:.3g} numbers; check that "
                "the sizes in config.json (positions, windows, chunks) are those of this model"
            )
        return func(*args, **(kwargs or {}))


def _made(name: str, args: Any) -> float:
    """Number of elements of the tensor that a function makes from sizes; 0 if it does not make one from sizes."""
    numbers = [float(value) for value in args if isinstance(value, (int, float))]
    if name == "linspace" and numbers:
        return numbers[-1]
    if name == "arange" and numbers:
        start, end, step = (0.0, *numbers, 1.0) if len(numbers) == 1 else (*numbers, 1.0)[:3]
        return abs(end - start) / (abs(step) or 1.0)
    sizes = next((value for value in args if isinstance(value, (list, tuple)) and value), None)
    if sizes is None or not all(isinstance(size, int) for size in sizes):
        return 0.0
    if name in _OF_SIZES:
        return float(math.prod(sizes))
    if name == "repeat":
        return float(math.prod(sizes)) * args[0].numel()
    if name == "constant_pad_nd":  # pairs of sizes, the last axis first
        shape = list(args[0].shape)
        for index, more in enumerate(sizes):
            shape[-1 - index // 2] += more
        return float(math.prod(shape))
    return 0.0
