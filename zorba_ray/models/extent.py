"""How large a network may be that is built from somebody's settings: no larger than its weights can fill.

transformers builds a network on torch's meta device first, where tensors take no memory. What is registered there is
counted as it comes, so that a hostile size ends the building, whatever setting it stands in. Some settings are sizes of
tables that are made while the network runs (MPT's positions, Mamba's chunks); those end its first pass.
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
"""Parameters beyond those of the files: heads and poolers that are built and not used."""
_SPARE_MODULES = 10_000
_MODULES_PER_TENSOR = 8
_MODULES = 300_000
"""Where only settings are known: the largest mixtures of experts have 100,000."""
_BUFFER_BYTES = 128 << 20
"""Tables that are computed (masks, positions), where the weights are smaller than that."""
_TABLE_ELEMENTS = 1 << 26
_OF_SIZES = frozenset(
    {"zeros", "ones", "full", "empty", "rand", "randn", "new_zeros", "new_ones", "new_full", "new_empty"}
)


@contextlib.contextmanager
def within(weights: Weights | None, label: str) -> Iterator[None]:
    """A network that is built inside on the meta device has no more than `weights` (None: not known) can fill.

    Raises:
        ModelError: it has more; at the module or tensor with which it would.
    """
    held, modules, elements, size = "", float(_MODULES), float("inf"), float("inf")
    if weights is not None:
        held = f", and the weights have {weights.bytes:,} bytes"
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
                    f"{name[:80]!r}){held}; take config.json and weights from the same model"
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
        for place, more in enumerate(sizes):
            shape[-1 - place // 2] += more
        return float(math.prod(shape))
    return 0.0
