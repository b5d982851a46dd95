"""The last block answers only for the tokens that the head reads.

Keys and values are of all tokens, and so are queries and norms, which are cheap. From the attention on, the attention
function and every module with a matrix are given the tokens that are read alone; what they answer stands among zeros in
the places of the others, which nobody reads.
"""

from typing import Any

import torch
from torch import nn

from zorba_ray.models.packing import Packing
from zorba_ray.models.swap import Forward


class LastBlock:
    """Its modules, wrapped on the instance; plain while it does not run on a packed batch that is read in part."""

    def __init__(self, block: nn.Module) -> None:
        """To be made after all others that wrap modules of the block."""
        self.packing: Packing | None = None
        """Of the batch that the block is given next; None: whole rows."""
        self._running: Packing | None = None
        self.plain: list[tuple[nn.Module, Forward]] = []
        """What is wrapped, as it ran before."""
        for module in block.modules():
            if module is not block and any(parameter.ndim >= 2 for parameter in module.parameters()):
                self.plain.append((module, module.forward))
                module.forward = self._restricted(module.forward)

    def around(self, forward: Forward) -> Forward:
        """Wraps the block's own forward."""

        def answering(*args: Any, **kwargs: Any) -> Any:
            packing = self.packing
            if packing is None or packing.read is None:
                return forward(*args, **kwargs)
            self._running, packing.read.reading = packing, True
            try:
                return forward(*args, **kwargs)
            finally:
                self._running, packing.read.reading, packing.read.attended = None, False, False

        return answering

    def _restricted(self, forward: Forward) -> Forward:
        def restricted(*args: Any, **kwargs: Any) -> Any:
            packing = self._running
            if packing is None or packing.read is None or not packing.read.attended:
                return forward(*args, **kwargs)
            read, tokens = packing.read, len(packing.rows_N)

            def taken(value: Any) -> Any:
                has_tokens = isinstance(value, torch.Tensor) and value.ndim == 3 and value.shape[1] == tokens
                return value.index_select(1, read.places_R) if has_tokens else value

            given = [taken(value) for value in args]
            if not args or given[0] is args[0]:  # a module inside has the tokens that are read already
                return forward(*args, **kwargs)
            answer = forward(*given, **{name: taken(value) for name, value in kwargs.items()})
            if isinstance(answer, tuple):
                return tuple(read.among_all(part, tokens) for part in answer)
            return read.among_all(answer, tokens)

        return restricted
