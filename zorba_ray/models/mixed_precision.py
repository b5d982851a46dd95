"""Matrices in 16 bits and vectors in fp32, as the modelled accelerator computes (algorithm.md §6).

Norms compute in fp32 and cast their output. A bias is added in fp32 and the sum is cast. A tensor that became fp32
through such a vector or table is cast back at the next linear layer, block, or matrix product in a block's own code.
"""

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from zorba_ray.models.linear import is_linear, is_transposed, product
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.lora import adapted
from zorba_ray.models.swap import Forward, Holder, TensorsSwapped


def mix_precision(loaded: LoadedModel, dtype: torch.dtype) -> None:
    """Replaces the forwards of the blocks, and of modules with tensors but no children; for inference only.

    A vector that another module reads, or whose own module has children, is cast to the dtype of the matrices.

    Args:
        dtype: dtype of the matrices.
    """
    network = loaded.network
    for module in network.modules():
        parameters = dict(module.named_parameters(recurse=False))
        if not parameters or next(module.children(), None) is not None:
            continue
        if is_linear(module):
            module.forward = _linear(module)
        elif any(parameter.ndim == 1 for parameter in parameters.values()):
            module.forward = _in_fp32(module, module.forward)
    vectors_of: dict[str, list[Holder]] = {}
    for name, reader in loaded.trace.readers.items():
        owner, _, key = name.rpartition(".")
        holder = network.get_submodule(owner)
        if network.get_parameter(name).ndim == 1 and (reader != owner or next(holder.children(), None) is not None):
            vectors_of.setdefault(reader, []).append((holder, key))
    for reader, vectors in vectors_of.items():
        module = network.get_submodule(reader)
        module.forward = _casting(module.forward, vectors, dtype)
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point() and buffer.ndim >= 2:  # masks and tables; frequencies stay in fp32
                module._buffers[name] = buffer.to(dtype)
    products = _Products(dtype)
    for block in loaded.blocks:
        block.forward = products.around(_cast_first(block.forward, dtype))


def _linear(leaf: nn.Module) -> Forward:
    transposed = is_transposed(leaf)

    def forward(x: torch.Tensor) -> torch.Tensor:
        # Parameters are read at each call: an active block swaps them.
        weight = _held(leaf, "weight")
        x = x.to(weight.dtype)
        y = product(x, weight.T if transposed else weight, leaf._parameters.get("bias"))
        change = adapted(leaf, x)
        return y if change is None else y.add_(change)

    return forward


def _in_fp32(module: nn.Module, plain: Forward) -> Forward:
    def forward(x: torch.Tensor, *rest: Any, **named: Any) -> Any:
        if not x.is_floating_point():
            return plain(x, *rest, **named)
        lifted = [(module, name, p.float()) for name, p in module._parameters.items() if p is not None]
        with TensorsSwapped(lifted):
            answer = plain(x.float(), *rest, **named)
        return answer.to(x.dtype) if isinstance(answer, torch.Tensor) else answer

    return forward


def _casting(plain: Forward, vectors: list[Holder], dtype: torch.dtype) -> Forward:
    def forward(*args: Any, **kwargs: Any) -> Any:
        with TensorsSwapped([(module, key, _held(module, key).to(dtype)) for module, key in vectors]):
            return plain(*args, **kwargs)

    return forward


def _held(module: nn.Module, key: str) -> torch.Tensor:
    tensor = module._parameters[key]
    assert tensor is not None
    return tensor


def _cast_first(plain: Forward, dtype: torch.dtype) -> Forward:
    """A block's forward that first casts its hidden state to the dtype of its matrices."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        if args and _floats(args[0]):
            return plain(args[0].to(dtype), *args[1:], **kwargs)
        if _floats(kwargs.get("hidden_states")):
            kwargs = {**kwargs, "hidden_states": kwargs["hidden_states"].to(dtype)}
        return plain(*args, **kwargs)

    return forward


class _Products(TorchFunctionMode):
    """Casts the factors of a matrix product to one dtype, for networks whose code multiplies different dtypes.

    Torch refuses such a product. Most networks have none, and watching every call of torch costs time. So the mode is
    off until a block fails with such a product; then it is on for all blocks.
    """

    _NAMES = frozenset(
        {"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "addmm", "baddbmm", "einsum", "linear", "conv1d"}
    )

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._needed = False

    def around(self, plain: Forward) -> Forward:
        """A block's forward, in this mode if it is on."""

        def forward(*args: Any, **kwargs: Any) -> Any:
            if not self._needed:
                try:
                    return plain(*args, **kwargs)
                except RuntimeError as error:
                    if isinstance(error, torch.OutOfMemoryError) or "type" not in str(error):
                        raise
                    self._needed = True
            with self:
                return plain(*args, **kwargs)

        return forward

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self._NAMES and len({t.dtype for t in args if _floats(t)}) > 1:
            args = tuple(value.to(self._dtype) if _floats(value) else value for value in args)
        return func(*args, **(kwargs or {}))


def _floats(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
