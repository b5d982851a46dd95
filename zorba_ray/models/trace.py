"""Observes one plain forward pass: how a network runs its blocks, and in which module each tensor is read.

Two decisions follow from it. First, a tensor of a block is perturbed while the module runs that reads it. Usually this
is its own module; it is a parent if that reads `self.conv.weight` without calling `conv`. Second, blocks are run one by
one only if a block gets nothing from the block before except the hidden state. Otherwise a pair is two whole forward
passes (`models.paired`).

This file only looks at the structure, which is the same in every process. `pair_check` then checks the numbers.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from zorba_ray.models.swap import ForwardsSwapped, storage_key

ROWS, LENGTH = 3, 5
"""Shape of the observed batch. The two numbers differ, so that an axis can be recognised by its length."""

_VIEWS = frozenset({"data", "T", "mT", "H", "mH", "real", "imag"})
"""Attributes of a tensor that give its values; the others (shape, dtype, …) do not."""
_FACTS = frozenset(
    {"size", "dim", "numel", "nelement", "stride", "element_size", "is_floating_point", "is_complex", "is_contiguous",
     "get_device", "storage_offset", "data_ptr", "untyped_storage", "__len__"}
)  # fmt: skip
"""Methods of a tensor that do not give its values."""


@dataclass(frozen=True)
class Trace:
    """The structure that a forward pass showed."""

    options: dict[str, Any]
    """Further arguments of the backbone's forward: they switch the cache off."""
    order: tuple[int, ...]
    """Blocks in the order in which they ran."""
    why_not: str
    """Why the blocks cannot be run one by one; empty: they can."""
    extra_outputs: tuple[int, ...]
    """For each block: number of None values after the hidden state in its output; -1: the output is the hidden state
    itself."""
    readers: Mapping[str, str]
    """Name of a tensor of a block -> name of the module that reads it, and while which it is perturbed."""
    elsewhere: tuple[str, ...]
    """Tensors of blocks that were read outside their block."""
    rows_first: frozenset[str]
    """Modules without children whose inputs and outputs always have the batch, or all tokens row by row, on their first
    axis."""
    early: frozenset[str]
    """Parameters that were read before the last block had ended; the others may not reach the loss."""
    behind: str | None
    """Name in the backbone of the module that makes its answer of what the last block returned, and of nothing else;
    empty: that is the answer; None: more is done."""

    @property
    def chained(self) -> bool:
        """Whether a block gets only the hidden state [B, …] from the block before."""
        return not self.why_not


def watch(network: nn.Module, backbone: nn.Module, blocks: nn.ModuleList, ids: torch.Tensor) -> Trace:
    """Runs `network` on `ids` [ROWS, LENGTH], without padding, and returns what was observed.

    The network must be as it was loaded: on one device, without wrapped modules.
    """
    assert tuple(ids.shape) == (ROWS, LENGTH)
    observer = _Observer(network, backbone, blocks)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    options = without_cache(backbone)
    with torch.no_grad():
        try:
            observer.run(inputs, options)
        except TypeError:
            if not options or "use_cache" in inspect.signature(backbone.forward).parameters:
                raise
            options = {}  # the backbone's `**kwargs` do not accept use_cache
            observer = _Observer(network, backbone, blocks)
            observer.run(inputs, options)
        if observer.answer is None:  # the network calls a part of its backbone
            again = _Observer(backbone, backbone, blocks)
            again.run(inputs, options)
            return replace(observer.conclude(options), behind=again.behind())
    return observer.conclude(options)


def without_cache(backbone: nn.Module) -> dict[str, Any]:
    """Arguments that switch the cache off: it would carry values of one sign or direction into the next."""
    accepted = inspect.signature(backbone.forward).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    return {"use_cache": False} if anything or "use_cache" in accepted else {}


@dataclass
class _Visit:
    """One run of a block."""

    block: int
    hidden: Any
    rest: list[Any]
    output: Any = None


class _Observer(TorchFunctionMode):
    """Keeps the stack of running modules, and records which parameters each torch function gets."""

    def __init__(self, network: nn.Module, backbone: nn.Module, blocks: nn.ModuleList) -> None:
        super().__init__()
        self._network, self._backbone = network, backbone
        self._visits: list[_Visit] = []
        self._names = {module: name for name, module in network.named_modules()}
        self._index = {block: index for index, block in enumerate(blocks)}
        self._parameters = {id(p): name for name, p in network.named_parameters()}
        self._owners: dict[str, str] = {}
        """Tensor of a block -> the block; a tied tensor under the first of its names, as in the manifest."""
        for block in blocks:
            block_name = self._names[block]
            tensors = {f"{block_name}.{key}": p for key, p in block.named_parameters(remove_duplicate=False)}
            first = {id(tensors[name]): name for name in sorted(tensors, reverse=True)}
            self._parameters.update(first)
            self._owners.update(dict.fromkeys(first.values(), block_name))
        self._stack: list[nn.Module] = []
        self._reads: dict[str, list[tuple[nn.Module, ...]]] = defaultdict(list)
        self._entered: set[nn.Module] = set()
        self._early: frozenset[str] = frozenset()
        self._other_axis: set[nn.Module] = set()
        self._calls: list[tuple[nn.Module, Any, Any]] = []
        """Modules, what they were given and what they answered, since the last block ended."""
        self.answer: Any = None
        """Of the backbone."""

    def run(self, inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> None:
        """Observes one forward pass. It replaces the forward of every module, because some modules are called without
        hooks."""
        watched = [(module, self._observed(module, module.forward)) for module in self._names]
        with ForwardsSwapped(watched), self:
            self._network(**inputs, **options)

    def _observed(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            self._stack.append(module)
            self._entered.add(module)
            first_input = next(_tensors((args, kwargs)), None)
            visit = None
            if module in self._index:
                hidden, rest = split_hidden(args, kwargs)
                visit = _Visit(self._index[module], hidden, [*rest[0], *rest[1].values()])
                self._visits.append(visit)
            output = forward(*args, **kwargs)
            if visit is not None:
                visit.output = output
                self._early, self._calls = frozenset(self._reads), []
            elif self.answer is None:
                self._calls.append((module, (args, kwargs), output))
            if module is self._backbone:
                self.answer = output[0]
            if not (_has_rows(first_input) and _has_rows(output)):
                self._other_axis.add(module)
            self._stack.pop()
            return output

        return observed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._stack and _gives_values(func):
            for tensor in _tensors((args, kwargs or {})):
                name = self._parameters.get(id(tensor))
                if name is not None:
                    self._reads[name].append(tuple(self._stack))
        return func(*args, **(kwargs or {}))

    def conclude(self, options: dict[str, Any]) -> Trace:
        """The trace of the observed pass."""
        extra = [-1] * len(self._index)
        for visit in self._visits:
            if isinstance(visit.output, tuple):
                extra[visit.block] = len(visit.output) - 1
        readers, elsewhere = self._readers()
        childless = {module for module in self._entered if next(module.children(), None) is None}
        rows_first = frozenset(self._names[module] for module in childless - self._other_axis)
        order = tuple(visit.block for visit in self._visits)
        return Trace(
            options=options, order=order, why_not=self._unchained(), extra_outputs=tuple(extra), readers=readers,
            elsewhere=elsewhere, rows_first=rows_first, early=self._early, behind=self.behind(),
        )  # fmt: skip

    def behind(self) -> str | None:
        """As `Trace.behind`."""
        last = self._visits[-1].output if self._visits else None
        last = last[0] if isinstance(last, tuple) else last
        if _is_same(last, self.answer):
            return ""
        for module, given, answer in self._calls:
            if _is_same(answer, self.answer) and all(value is last for value in _tensors(given)):
                return next(name for name, part in self._backbone.named_modules() if part is module)
        return None

    def _unchained(self) -> str:
        """The first reason why blocks cannot be run one by one; empty: they can."""
        order = [visit.block for visit in self._visits]
        if order != list(range(len(self._index))):
            return f"its blocks run in the order {order}"
        passed: list[torch.Tensor] = []
        for visit in self._visits:
            if not isinstance(visit.hidden, torch.Tensor):
                return f"block {visit.block} does not get its hidden state as the first argument or as hidden_states"
            if visit.hidden.shape[0] != ROWS:
                return f"the first axis of the hidden state of block {visit.block} is not the batch"
            if passed and visit.hidden is not passed[-1]:
                return f"something is computed between blocks {visit.block - 1} and {visit.block}"
            if not all(_is_plain(value) for value in visit.rest):
                return f"block {visit.block} gets an object through which blocks could pass state"
            if any(value is earlier for value in _tensors(visit.rest) for earlier in passed):
                return f"block {visit.block} gets outputs of earlier blocks in addition to its hidden state"
            answer = visit.output if isinstance(visit.output, tuple) else (visit.output,)
            if not isinstance(answer[0], torch.Tensor) or any(value is not None for value in answer[1:]):
                return f"block {visit.block} returns more than its hidden state"
            passed.append(answer[0])
        return ""

    def _readers(self) -> tuple[dict[str, str], tuple[str, ...]]:
        levels: dict[str, int] = {}
        elsewhere = []
        for name, block in self._owners.items():
            owner = name.rpartition(".")[0]
            stacks = [[self._names[module] for module in stack] for stack in self._reads.get(name, ())]
            if any(block not in stack for stack in stacks):
                elsewhere.append(name)
                continue
            inside = [reader for reader in _ancestors(owner, block) if all(reader in stack for stack in stacks)]
            level = _ancestors(owner, block).index(inside[0])
            levels[_kind(name)] = max(level, levels.get(_kind(name), 0))
        # An expert that got no token in this pass is read like the other experts.
        readers = {
            name: _ancestors(name.rpartition(".")[0], block)[levels.get(_kind(name), 0)]
            for name, block in self._owners.items()
        }
        return readers, tuple(elsewhere)


def split_hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[tuple[Any, ...], dict[str, Any]]]:
    """(hidden state, other arguments) of a block's call. The hidden state is the first argument or `hidden_states`;
    None: there is neither."""
    if args:
        return args[0], (args[1:], kwargs)
    others = {name: value for name, value in kwargs.items() if name != "hidden_states"}
    return kwargs.get("hidden_states"), ((), others)


def _ancestors(owner: str, block: str) -> list[str]:
    """The names of a module and its parents, up to the block, innermost first."""
    names = [owner]
    while names[-1] != block:
        names.append(names[-1].rpartition(".")[0])
    return names


def _kind(name: str) -> str:
    """A tensor's name without numbers; it is the same for all blocks and experts."""
    return re.sub(r"\d+", "#", name)


def _has_rows(value: Any) -> bool:
    """Whether the first axis of a tensor is the batch, or all tokens row by row."""
    return isinstance(value, torch.Tensor) and value.shape[:1] in ((ROWS,), (ROWS * LENGTH,))


def _gives_values(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(func.__self__, "__name__", "") in _VIEWS
    return name not in _FACTS


def _is_same(value: Any, other: Any) -> bool:
    """Whether two are tensors of one shape in the same memory."""
    pair = [each for each in (value, other) if isinstance(each, torch.Tensor)]
    return len(pair) == 2 and value.shape == other.shape and storage_key(value) == storage_key(other)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor, a constant, or a tuple of these, in which a block cannot leave state for the
    next."""
    if isinstance(value, tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(
        value, (torch.Tensor, bool, int, float, str, torch.dtype, torch.device, torch.Size)
    )
