"""The loss as the untouched Hugging Face model has it, with tensors of blocks perturbed: what pairs are held against.

It runs none of the code of the forward pair. The whole network runs once per sign, head and all; a block's tensors are
replaced by perturbed copies while the block runs, one block at a time.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from zorba_ray.config import ModelConfig, TaskConfig
from zorba_ray.directions import DirectionBackend, factors, tensor_stream
from zorba_ray.formats import Format, round_trip
from zorba_ray.models.answer_tokens import read_label_tokens
from zorba_ray.models.batch import Batch, Options
from zorba_ray.models.heads import encoded_prompts, head_kind, model_inputs
from zorba_ray.models.linear import is_linear, is_transposed
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.swap import Forward, ForwardsSwapped, TensorsSwapped
from zorba_ray.models.task import TaskModel


@dataclass(frozen=True)
class PlainStep:
    """θ + sign · μz on some blocks."""

    active: frozenset[int]
    move: Perturbation
    sign: float
    left_out: str | None = None
    """Name of a tensor that stays at θ."""
    rounded_in: bool = False
    """Low-rank steps of 16-bit weights are added to the weight, and rounded with it; else they are products of their
    own, as in a pair."""
    format: Format = "compute"
    """Of all matrices that are not perturbed: packed, and unpacked again."""


class PlainLoss:
    """Mean loss on a batch at θ, or after a step. θ is read only."""

    def __init__(
        self,
        model: TaskModel,
        config: ModelConfig,
        prompt: str,
        words: tuple[str, ...],
        directions: DirectionBackend,
        task: TaskConfig | None = None,
    ) -> None:
        """`model`: whose network is used, on its device and in its dtype. `directions`: on the CPU."""
        self._model, self._loaded, self._replica = model, model.loaded, model.replica
        self._directions, self._dtype = directions, model.compute
        task = task or TaskConfig()
        self.kind, self._per_token = head_kind(config, task.row_kind(config.head), model.loaded), task.per_token
        self.tokens: Sequence[int] = ()
        """First tokens of the label words."""
        self.prompts: tuple[torch.Tensor, torch.Tensor] | None = None
        """Tokens and mask of the label prompts, int64 [C, T]."""
        self.temperature = config.temperature
        if self.kind == "label_words":
            self.tokens = read_label_tokens(model.loaded.tokenizer, prompt, words).tokens
        elif self.kind == "label_prompts":
            self.prompts = encoded_prompts(model.loaded, words)
        self._prompts_CH: torch.Tensor | None = None
        self._zeros = self._z = torch.empty(0)

    def __call__(self, batch: Batch, step: PlainStep | None = None) -> float:
        """The mean loss; None: at θ."""
        sums, items = self.rows(batch, step)
        return float(sums.sum() / items.sum())

    def rows(self, batch: Batch, step: PlainStep | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of the losses, number of losses) of each example; None: at θ."""
        with self._model.lifted():
            if self.prompts is not None and self._prompts_CH is None:
                with self._stepped(None):
                    self._prompts_CH = self._pooled(*self.prompts)
            with self._stepped(step):
                return self._sums(batch)

    def logits(self, text: Sequence[int], step: PlainStep | None = None) -> torch.Tensor:
        """What the model says after each token of one text, fp32 [T, V]; None: at θ."""
        with self._model.lifted(), self._stepped(step):
            ids = torch.tensor([text], device=self._model.device)
            answer = self._loaded.network(
                input_ids=ids, attention_mask=torch.ones_like(ids), **self._loaded.trace.options
            )
        return answer.logits[0].float()

    def tensor(self, entry: TensorEntry, step: PlainStep | None, format: Format = "compute") -> torch.Tensor:
        """A copy of a tensor, perturbed where `step` says; or as it is after it was packed in `format`."""
        value = self._replica.parameters[entry.name].cpu()
        if format != "compute":
            value = round_trip(value, entry.shape, format)
        value = value.to(entry.compute_dtype(self._dtype)).float()
        if step is not None:
            value = torch.add(value, self._direction(entry, step.move), alpha=step.sign * step.move.scale)
        return self._on_device(entry, value)

    def _on_device(self, entry: TensorEntry, value: torch.Tensor) -> torch.Tensor:
        return value.to(device=self._model.device, dtype=entry.compute_dtype(self._dtype)).view(entry.shape)

    def _direction(self, entry: TensorEntry, move: Perturbation) -> torch.Tensor:
        """z of one tensor, flat fp32."""
        stream = tensor_stream(move.seed, entry.block, entry.slot, move.direction, move.distribution)
        if self._model.rank and len(entry.shape) >= 2:
            shape = (entry.shape[0], entry.numel // entry.shape[0])
            u, v = factors(self._directions, stream, shape, self._model.rank, "cpu")
            return (u @ v.T).view(-1) / self._model.rank**0.5
        if entry.numel > len(self._zeros):
            self._zeros, self._z = torch.zeros(entry.numel), torch.empty(entry.numel)
        z = self._z[: entry.numel]
        self._directions.perturb_into(z, self._zeros[: entry.numel], stream, 1.0)
        return z

    def _stepped(self, step: PlainStep | None) -> ForwardsSwapped:
        """A context: blocks run with their tensors after the step."""
        apart = self._model.device != "cpu" or self._dtype != torch.float32
        active = frozenset() if step is None else step.active
        format: Format = "compute" if step is None else step.format
        return ForwardsSwapped(
            (block, self._bound(index, block.forward, step if index in active else None, format))
            for index, block in enumerate(self._loaded.blocks)
            if index in active or apart or format != "compute"
        )

    def _bound(self, index: int, forward: Forward, step: PlainStep | None, format: Format) -> Forward:
        def bound(*args: Any, **kwargs: Any) -> Any:
            with ExitStack() as stack:
                for entry in self._replica.manifest.by_block[index]:
                    moved = step
                    if moved and not (entry.in_scope(self._model.scope) and entry.name != moved.left_out):
                        moved = None
                    holders = self._replica.holders[entry.name]
                    if moved is not None and self._is_own_product(entry, moved):
                        layer = holders[0][0]
                        change = moved.sign * moved.move.scale * self._direction(entry, moved.move)
                        changed = _stepping(layer, layer.forward, self._on_device(entry, change))
                        stack.enter_context(ForwardsSwapped([(layer, changed)]))
                        moved = None
                    frozen = entry.packable and (step is None or not entry.in_scope(self._model.scope))
                    value = self.tensor(entry, moved, format if frozen else "compute")
                    stack.enter_context(TensorsSwapped([(module, key, value) for module, key in holders]))
                return forward(*args, **kwargs)

        return bound

    def _is_own_product(self, entry: TensorEntry, step: PlainStep) -> bool:
        """Whether a low-rank step is a product of its own beside a 16-bit weight, so that the two are rounded apart."""
        if step.rounded_in or not self._model.rank or self._dtype == torch.float32 or len(entry.shape) != 2:
            return False
        holders = self._replica.holders[entry.name]
        module = holders[0][0]
        return len(holders) == 1 and module._parameters.keys() <= {"weight", "bias"} and is_linear(module)

    def _sums(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        single = torch.ones_like(batch.labels_B)
        if batch.options is not None:
            scores = zip(self._option_scores(batch, batch.options), batch.labels_B, strict=True)
            return torch.stack([functional.cross_entropy(row, label) for row, label in scores]), single
        inputs = model_inputs(self._loaded, batch.ids_BT, batch.mask_BT)
        if self.kind == "label_prompts":
            assert self._prompts_CH is not None
            logits = self.temperature * functional.cosine_similarity(
                self._pooled(batch.ids_BT, batch.mask_BT)[:, None], self._prompts_CH[None], dim=-1
            )
            return functional.cross_entropy(logits, batch.labels_B, reduction="none"), single
        logits = self._loaded.network(**inputs, **self._loaded.trace.options).logits.float()
        if self.kind == "label_words":
            rows = [row[: int(mask.nonzero().max()) + 1][-1] for row, mask in zip(logits, batch.mask_BT, strict=True)]
            read = torch.stack(rows)[:, list(self.tokens)]
            return functional.cross_entropy(read, batch.labels_B, reduction="none"), single
        wanted = batch.ids_BT.masked_fill(batch.mask_BT == 0, -100)
        if batch.scored_BT is not None:
            wanted = wanted.masked_fill(~batch.scored_BT, -100)
        wanted = wanted[:, 1:]
        # Over a last axis: across another one, torch adds up a large vocabulary with larger errors.
        flat = functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten(), reduction="none")
        return flat.view(wanted.shape).sum(dim=1), (wanted != -100).sum(dim=1)

    def _option_scores(self, batch: Batch, options: Options) -> list[torch.Tensor]:
        """Of each example its options' scores: prompt and whole option are one text each, side by side."""
        length, device = batch.ids_BT.shape[1], batch.ids_BT.device
        texts: list[list[int]] = []
        parts: list[tuple[int, int]] = []
        """Row, and where its option begins."""
        for row, column in options.real_BCL.any(dim=2).nonzero().tolist():
            sequence, last = divmod(int(options.positions_N[options.read_BCL[row, column, 0]]), length)
            answer = options.tokens_BCL[row, column][options.real_BCL[row, column]].tolist()
            texts.append([*batch.ids_BT[sequence, : last + 1].tolist(), *answer])
            parts.append((row, last + 1))
        ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long, device=device)
        mask = torch.zeros_like(ids)
        for number, text in enumerate(texts):
            ids[number, : len(text)] = torch.tensor(text, device=device)
            mask[number, : len(text)] = 1
        inputs = model_inputs(self._loaded, ids, mask)
        likely = self._loaded.network(**inputs, **self._loaded.trace.options).logits.float().log_softmax(dim=-1)
        scores: list[list[torch.Tensor]] = [[] for _ in range(len(batch))]
        for number, (text, (row, begin)) in enumerate(zip(texts, parts, strict=True)):
            each = torch.stack([likely[number, spot - 1, text[spot]] for spot in range(begin, len(text))])
            scores[row].append(each.mean() if self._per_token else each.sum())
        return [torch.stack(row) for row in scores]

    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self._loaded.backbone(**model_inputs(self._loaded, ids, mask), **self._loaded.trace.options)[0].float()
        return torch.stack([row[real.bool()].mean(dim=0) for row, real in zip(hidden, mask, strict=True)])


def _stepping(layer: nn.Module, plain: Forward, step: torch.Tensor) -> Forward:
    """A linear layer's forward with `step` [of the weight's shape] in a product of its own."""
    weight = step if is_transposed(layer) else step.T

    def forward(x: torch.Tensor) -> torch.Tensor:
        return plain(x) + x.to(step.dtype) @ weight

    return forward
