"""16-bit matrices beside fp32 vectors, as the modelled accelerator computes (algorithm.md §6).

Norms compute in fp32 and cast their output; a bias is added in fp32 and the sum is cast, in the kernel of an in-place
add, so that no fp32 copy of an output exists. What a table or a vector in fp32 lifts is cast back where a linear layer,
a block, or a matrix product in a block's own code takes it.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from zorba_ray.models.linear import is_linear, is_transposed
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.lora import adapted


def mix_precision(loaded: LoadedModel, dtype: torch.dtype) -> None:
    """Wraps the blocks and the modules without children that hold tensors, on the instance; for inference only.

    A vector that is read beside matrices, by a module with children or by another than its own, is cast to their dtype.

    Args:
        dtype: of matrices.
    """
    network, blocks = loaded.network, loaded.blocks
    for module in network.modules():
        parameters = dict(module.named_parameters(recurse=False))
        if not parameters or next(module.children(), None) is not None:
            continue
        if is_linear(module):
            module.forward = _linear(module)
        elif any(parameter.ndim == 1 for parameter in parameters.values()):
            module.forward = _in_fp32(module, module.forward)
    guests: dict[str, list[tuple[nn.Module, str]]] = {}
    for name, reader in loaded.trace.readers.items():
        owner, _, own = name.rpartition(".")
        home = network.get_submodule(owner)
        if network.get_parameter(name).ndim == 1 and (reader != owner or next(home.children(), None) is not None):
            guests.setdefault(reader, []).append((home, own))
    for reader, vectors in guests.items():
        module = network.get_submodule(reader)
        module.forward = _casting(module.forward, vectors, dtype)
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point() and buffer.ndim >= 2:  # masks and tables; frequencies stay in fp32
                module._buffers[name] = buffer.to(dtype)
    products = _Products(dtype)
    for block in blocks:
        block.forward = products.around(_cast_first(block.forward, dtype))


def _linear(leaf: nn.Module) -> Any:
    transposed = is_transposed(leaf)

    def forward(x: torch.Tensor) -> torch.Tensor:
        # Parameters are read at each call: an active block swaps them.
        weight, bias = leaf._parameters["weight"], leaf._parameters.get("bias")
        assert weight is not None
        x = x.to(weight.dtype)
        y = functional.linear(x, weight.T if transposed else weight)
        if bias is not None:
            y.add_(bias)
        change = adapted(leaf, x)
        return y if change is None else y.add_(change)

    return forward


def _in_fp32(module: nn.Module, plain: Any) -> Any:
    def forward(x: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        if not x.is_floating_point():
            return plain(x, *rest, **named)
        kept = dict(module._parameters)
        try:
            for name, parameter in kept.items():
                if parameter is not None and parameter.dtype != torch.float32:
                    module._parameters[name] = parameter.float()  # type: ignore[assignment]
            answer = plain(x.float(), *rest, **named)
        finally:
            module._parameters.update(kept)
        return answer.to(x.dtype) if isinstance(answer, torch.Tensor) else answer

    return forward


def _casting(plain: Any, vectors: list[tuple[nn.Module, str]], dtype: torch.dtype) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        kept = [(module, name, module._parameters[name]) for module, name in vectors]
        try:
            for module, name, vector in kept:
                assert vector is not None
                module._parameters[name] = vector.to(dtype)  # type: ignore[assignment]
            return plain(*args, **kwargs)
        finally:
            for module, name, vector in kept:
                module._parameters[name] = vector

    return forward


def _cast_first(plain: Any, dtype: torch.dtype) -> Any:
    """A block's forward that takes its hidden state in the dtype of its matrices."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        if args and _floats(args[0]):
            return plain(args[0].to(dtype), *args[1:], **kwargs)
        if _floats(kwargs.get("hidden_states")):
            kwargs = {**kwargs, "hidden_states": kwargs["hidden_states"].to(dtype)}
        return plain(*args, **kwargs)

    return forward


class _Products(TorchFunctionMode):
    """Casts what a matrix product is given to one dtype, in networks whose code multiplies several.

    Torch refuses such a product. Most networks have none, and are spared the cost of a look at every call of torch: the
    first refusal in a block switches it on for all.
    """

    _NAMES = frozenset(
        {"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "addmm", "baddbmm", "einsum", "linear", "conv1d"}
    )

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._needed = False

    def around(self, plain: Any) -> Any:
        """A block's forward under it, where it is needed."""

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
