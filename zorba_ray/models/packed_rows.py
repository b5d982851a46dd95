"""A matrix outside the blocks that stays in int8 on the accelerator, in the place of a parameter.

Networks read such a matrix in three ways: the rows of some tokens (an embedding), a product with all rows (an output
layer), and a choice of rows. For each of them only the rows that are needed are unpacked, some at a time. Any other use
is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from zorba_ray.errors import ModelError
from zorba_ray.formats import unpack_into, unpack_rows

AT_ONCE = 8192
"""Rows that are unpacked at a time in a product with all of them."""


class PackedRows(torch.Tensor):
    """An int8 matrix [rows, columns]; without memory of its own beside the slab."""

    slab: torch.Tensor
    """uint8, as `formats.sizes` says."""
    label: str
    """Name of the parameter, for messages."""

    @staticmethod
    def of(slab: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, label: str) -> "PackedRows":
        """`dtype`: the compute dtype, which its values are unpacked to."""
        made = torch.Tensor._make_wrapper_subclass(PackedRows, shape, dtype=dtype, device=slab.device)  # type: ignore
        made.slab, made.label = slab, label
        return made

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of these numbers: of the shape of `ids`, with an axis of columns more."""
        with torch._C.DisableTorchFunctionSubclass():
            values = unpack_rows(self.slab, tuple(self.shape), ids.reshape(-1)).to(self.dtype)
            return values.view(*ids.shape, self.shape[-1])

    def product(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """x Wᵀ + b."""
        with torch._C.DisableTorchFunctionSubclass():
            count, columns = self.shape
            out = x.new_empty(*x.shape[:-1], count)
            memory = torch.empty(min(AT_ONCE, count) * columns, dtype=self.dtype, device=x.device)
            for first in range(0, count, AT_ONCE):
                last = min(first + AT_ONCE, count)
                part = memory[: (last - first) * columns]
                unpack_into(part, self.slab, (count, columns), "int8", (first, last))
                shift = None if bias is None else bias[first:last]
                out[..., first:last] = functional.linear(x, part.view(-1, columns), shift)
            return out

    @classmethod
    def __torch_function__(cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func is functional.embedding:
            ids, matrix = args[0], args[1] if len(args) > 1 else named["weight"]
            return matrix.rows(ids)
        if func is functional.linear:
            x, matrix, *rest = args
            return matrix.product(x, rest[0] if rest else named.get("bias"))
        if func is torch.Tensor.__getitem__ and isinstance(args[1], torch.Tensor):
            return args[0].rows(args[1])
        if getattr(func, "__name__", "") in _HARMLESS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **named)
        label = next(value.label for value in (*args, *named.values()) if isinstance(value, PackedRows))
        raise _refused(label, getattr(func, "__name__", func))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        label = next((value.label for value in args if isinstance(value, PackedRows)), "a matrix outside the blocks")
        raise _refused(label, func)


def _refused(label: str, operation: Any) -> ModelError:
    return ModelError(
        f"memory.stem_format=int8: {label} is read by {operation}, which needs the whole matrix; set "
        "memory.stem_format=compute"
    )


_HARMLESS = frozenset({"__get__", "size", "dim", "numel", "stride", "is_floating_point", "requires_grad_", "detach"})
"""Reads of shape, dtype and device."""
