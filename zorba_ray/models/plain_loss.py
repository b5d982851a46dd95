"""The loss as the untouched Hugging Face model has it, with tensors of blocks perturbed: what pairs are held against.

It runs none of the code of the forward pair. The whole network runs once per sign, head and all; a block's tensors are
replaced by perturbed copies while the block runs, one block at a time.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from zorba_ray.config import ModelConfig
from zorba_ray.directions import DirectionBackend, factors, tensor_stream
from zorba_ray.models.block_layout import compute_dtype
from zorba_ray.models.heads import Batch, head_kind, model_inputs
from zorba_ray.models.label_tokens import label_tokens
from zorba_ray.models.linear import is_linear, is_transposed
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import Scope, TensorEntry
from zorba_ray.models.perturbed_tensors import Perturbation
from zorba_ray.models.place import place
from zorba_ray.models.replica import Replica


@dataclass(frozen=True)
class PlainHead:
    """How the loss is read off the network's own answer."""

    kind: str
    """`label_words`, `label_prompts` or `lm`."""
    tokens: Sequence[int] = ()
    """First tokens of the label words."""
    prompts: tuple[torch.Tensor, torch.Tensor] | None = None
    """Tokens and mask of the label prompts, int64 [C, T]."""
    temperature: float = 1.0


def plain_head(config: ModelConfig, loaded: LoadedModel, prompt: str, words: Sequence[str]) -> PlainHead:
    """The head that `model.head` asks for."""
    kind = head_kind(config, loaded)
    if kind == "lm":
        return PlainHead("lm")
    if kind == "label_words":
        return PlainHead("label_words", label_tokens(loaded.tokenizer, prompt, tuple(words)))
    encoded = loaded.tokenizer(list(words), padding=True, return_tensors="pt")
    device = loaded.network.get_input_embeddings().weight.device
    prompts = (encoded["input_ids"].to(device), encoded["attention_mask"].to(device))
    return PlainHead("label_prompts", prompts=prompts, temperature=config.temperature)


class PlainLoss:
    """Mean loss on a batch at θ, or at θ + sign · μz on some blocks. θ is read only."""

    def __init__(
        self,
        loaded: LoadedModel,
        replica: Replica,
        head: PlainHead,
        scope: Scope,
        rank: int,
        directions: DirectionBackend,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        """The network must run as it was loaded, with 16-bit matrices as `mix_precision` makes them.

        Args:
            directions: on the CPU.
            device: what computes.
            dtype: of matrices.
        """
        self._loaded, self._replica, self._head = loaded, replica, head
        self._scope: Scope = scope
        self._rank, self._directions = rank, directions
        self._device, self._dtype = device, dtype
        names = {place(tensor): name for name, tensor in replica.parameters.items()}
        self._holders: list[dict[str, list[tuple[nn.Module, str]]]] = []
        for block in loaded.blocks:
            holders: dict[str, list[tuple[nn.Module, str]]] = {}
            for module in block.modules():
                for own, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                    holders.setdefault(names[place(parameter)], []).append((module, own))
            self._holders.append(holders)
        self._prompts_CH: torch.Tensor | None = None
        self._left: str | None = None
        self._rounded_in = False
        self._zeros = self._z = torch.empty(0)

    def __call__(
        self, batch: Batch, active: frozenset[int] = frozenset(), move: Perturbation | None = None, sign: float = 0.0
    ) -> float:
        """The mean loss; `move` is the direction along which the active blocks are perturbed by sign · μ."""
        if self._head.prompts is not None and self._prompts_CH is None:
            with self._perturbed(frozenset(), None, 0.0):
                self._prompts_CH = self._pooled(*self._head.prompts)
        with self._perturbed(active, move, sign):
            return float(self._loss(batch))

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """A tensor is not perturbed inside."""
        self._left = name
        try:
            yield
        finally:
            self._left = None

    @contextlib.contextmanager
    def steps_rounded_in(self) -> Iterator[None]:
        """Low-rank steps of 16-bit weights are added to the weight inside, and rounded with it."""
        self._rounded_in = True
        try:
            yield
        finally:
            self._rounded_in = False

    def entry(self, tensor: TensorEntry, move: Perturbation | None, sign: float) -> torch.Tensor:
        """A copy of a tensor, perturbed where `move` says."""
        value = self._replica.parameters[tensor.name].cpu().to(compute_dtype(tensor, self._dtype)).float()
        if self._moves(tensor, move):
            assert move is not None
            value = torch.add(value, self._direction(tensor, move), alpha=sign * move.scale)
        return self._placed(tensor, value)

    def _placed(self, tensor: TensorEntry, value: torch.Tensor) -> torch.Tensor:
        return value.to(device=self._device, dtype=compute_dtype(tensor, self._dtype)).view(tensor.shape)

    def _moves(self, tensor: TensorEntry, move: Perturbation | None) -> bool:
        return move is not None and tensor.in_scope(self._scope) and tensor.name != self._left

    def _direction(self, tensor: TensorEntry, move: Perturbation) -> torch.Tensor:
        """z of one tensor, flat fp32."""
        stream = tensor_stream(move.seed, tensor.block, tensor.slot, move.direction, move.distribution)
        if self._rank and len(tensor.shape) >= 2:
            shape = (tensor.shape[0], tensor.numel // tensor.shape[0])
            u, v = factors(self._directions, stream, shape, self._rank, "cpu")
            return (u @ v.T).view(-1) / self._rank**0.5
        if tensor.numel > len(self._zeros):
            self._zeros, self._z = torch.zeros(tensor.numel), torch.empty(tensor.numel)
        z = self._z[: tensor.numel]
        self._directions.perturb_into(z, self._zeros[: tensor.numel], stream, 1.0)
        return z

    @contextlib.contextmanager
    def _perturbed(self, active: frozenset[int], move: Perturbation | None, sign: float) -> Iterator[None]:
        apart = self._device != "cpu" or self._dtype != torch.float32
        plain = [block.forward for block in self._loaded.blocks]
        try:
            for index, block in enumerate(self._loaded.blocks):
                if index in active or apart:
                    block.forward = self._bound(index, block.forward, move if index in active else None, sign)
            yield
        finally:
            for block, forward in zip(self._loaded.blocks, plain, strict=True):
                block.forward = forward

    def _bound(self, index: int, forward: Any, move: Perturbation | None, sign: float) -> Any:
        def bound(*args: Any, **kwargs: Any) -> Any:
            kept: list[tuple[nn.Module, str, Any]] = []
            layers: list[tuple[nn.Module, Any]] = []
            try:
                for tensor in self._replica.manifest.by_block[index]:
                    holders = self._holders[index][tensor.name]
                    unrounded = self._moves(tensor, move) and self._is_unrounded(tensor, holders)
                    if unrounded:
                        assert move is not None
                        layers.append((holders[0][0], holders[0][0].forward))
                        step = self._placed(tensor, sign * move.scale * self._direction(tensor, move))
                        holders[0][0].forward = _stepping(*layers[-1], step)
                    value = self.entry(tensor, None if unrounded else move, sign)
                    for module, own in holders:
                        kept.append((module, own, module._parameters[own]))
                        module._parameters[own] = value  # type: ignore[assignment]
                return forward(*args, **kwargs)
            finally:
                for module, own, parameter in reversed(kept):
                    module._parameters[own] = parameter
                for module, plain in layers:
                    module.forward = plain

        return bound

    def _is_unrounded(self, tensor: TensorEntry, holders: Sequence[tuple[nn.Module, str]]) -> bool:
        """Whether a low-rank step is a product of its own beside a 16-bit weight, so that the two are rounded apart."""
        if self._rounded_in:
            return False
        module = holders[0][0]
        alone = len(holders) == 1 and module._parameters.keys() <= {"weight", "bias"}
        return (
            bool(self._rank) and self._dtype != torch.float32 and len(tensor.shape) == 2 and alone and is_linear(module)
        )

    def _loss(self, batch: Batch) -> torch.Tensor:
        inputs = model_inputs(self._loaded, batch.ids_BT, batch.mask_BT)
        if self._head.kind == "label_prompts":
            assert self._prompts_CH is not None
            logits = self._head.temperature * functional.cosine_similarity(
                self._pooled(batch.ids_BT, batch.mask_BT)[:, None], self._prompts_CH[None], dim=-1
            )
            return functional.cross_entropy(logits, batch.labels_B)
        logits = self._loaded.network(**inputs, **self._loaded.trace.options).logits.float()
        if self._head.kind == "label_words":
            rows = [row[: int(mask.nonzero().max()) + 1][-1] for row, mask in zip(logits, batch.mask_BT, strict=True)]
            return functional.cross_entropy(torch.stack(rows)[:, list(self._head.tokens)], batch.labels_B)
        wanted = batch.ids_BT.masked_fill(batch.mask_BT == 0, -100)[:, 1:]
        return functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten())

    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self._loaded.backbone(**model_inputs(self._loaded, ids, mask), **self._loaded.trace.options)[0].float()
        return torch.stack([row[real.bool()].mean(dim=0) for row, real in zip(hidden, mask, strict=True)])


def _stepping(layer: nn.Module, plain: Any, step: torch.Tensor) -> Any:
    """A linear layer's forward with `step` [of the weight's shape] in a product of its own."""
    weight = step if is_transposed(layer) else step.T

    def forward(x: torch.Tensor) -> torch.Tensor:
        return plain(x) + x.to(step.dtype) @ weight

    return forward
