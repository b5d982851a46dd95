"""A model and its head as the rounds see it: losses of forward pairs, and evaluation."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from zorba_ray.config import DECODED, ModelConfig, TaskConfig
from zorba_ray.directions import DirectionBackend
from zorba_ray.errors import ModelError
from zorba_ray.models.batch import Batch
from zorba_ray.models.cache_check import cache_is_right
from zorba_ray.models.decode import Decoder, ending_of, prompts_of
from zorba_ray.models.evaluation import Evaluation
from zorba_ray.models.example_steps import ExampleGroups
from zorba_ray.models.heads import build_head
from zorba_ray.models.loaded import LoadedModel, running
from zorba_ray.models.logit_spread import LogitSpread
from zorba_ray.models.logits import logits_of
from zorba_ray.models.manifest import Scope, TensorEntry
from zorba_ray.models.mixed_precision import mix_precision
from zorba_ray.models.offload import Offload
from zorba_ray.models.paired import PairedBackbone, PreparedBatch
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.placement import RESIDENT, STREAMED, HostStore, Placement
from zorba_ray.models.replica import Replica, move_rest
from zorba_ray.models.rewarded import RewardFunction, chosen_texts
from zorba_ray.models.row_layout import RowLayout, inputs_of
from zorba_ray.models.swap import ForwardsSwapped, TensorsSwapped


class TaskModel:
    """One replica's model: θ in an arena, blocks that run in pairs, and a head fixed at θ0."""

    def __init__(
        self,
        loaded: LoadedModel,
        config: ModelConfig,
        prompt: str,
        label_words: tuple[str, ...],
        scope: Scope,
        directions: DirectionBackend,
        device: str = "cpu",
        rank: int = 0,
        store: HostStore | None = None,
        task: TaskConfig | None = None,
        longest: int = 0,
        reward: RewardFunction | None = None,
    ) -> None:
        """`device`: what computes. `rank`: of the directions of matrices; 0: dense.

        `store`: θ is kept in host memory, and blocks come to `device` as `use_placement` says; None: θ is on `device`.
        `longest`: tokens of the longest text that may be decoded, prompt and answer. `reward`: what batches with
        references are judged by; None: by the loss of the task, all of them.
        """
        self._reward = reward
        self.layout = RowLayout()
        """Which tokens of a batch are computed: settled before a run, the same in all of its processes."""
        self.loaded = loaded
        self.device = device
        self.store = store
        self.scope: Scope = scope
        self.rank = rank
        self.compute = torch.float32 if store is None else store.dtype
        """dtype of matrices."""
        self._placement = RESIDENT if store is None or not store.apart else STREAMED
        self._offload = None
        if store is None:
            self.replica = Replica(loaded, device)
        else:
            self.replica = Replica(loaded, pinned=torch.device(device).type == "cuda")
            move_rest(loaded, device, self.compute)
            if self.compute != torch.float32:
                mix_precision(loaded, self.compute)
            self._offload = Offload(self.replica, device, scope, store)
        with torch.inference_mode():
            self._backbone = PairedBackbone(loaded, self.replica, scope, directions, rank, self.compute, self._offload)
            self._enter(frozenset())
            with running(loaded.label):
                self.head = build_head(config, loaded, prompt, label_words, task)
                self.decoder = self._decoder(task, config, longest)

    def _decoder(self, task: TaskConfig | None, config: ModelConfig, longest: int) -> Decoder | None:
        """What writes answers, where the task has them written. Judged at θ0, so that every process decodes alike."""
        if task is None or task.row_kind(config.head) not in DECODED:
            return None
        logits = logits_of(self.loaded, None)
        ending = ending_of(self.loaded, task.max_new_tokens, task.until, task.messages_column is not None)
        return Decoder(self.loaded, logits, ending, cache_is_right(self.loaded, logits, longest))

    def lifted(self) -> ForwardsSwapped:
        """A context: the network runs as it was loaded (in 16 bits: mixed), its blocks where they are at home."""
        self.clear()
        return self._backbone.lifted()

    def poisoned(self, active: frozenset[int], name: str | None = None) -> TensorsSwapped:
        """A context: tensors in scope of the active blocks (None: all, else that one) are NaN wherever they are not
        perturbed."""
        self._enter(active)
        return self._backbone.tensors.poisoned(active, name)

    def use_placement(self, placement: Placement) -> None:
        """Where the blocks of the client live whose batch is prepared next; with a store only."""
        assert self._offload is not None
        self._placement = placement

    def clear(self) -> None:
        """Frees what the accelerator holds of blocks, the stream buffers too."""
        if self._offload is not None:
            self._offload.clear()

    def held_bytes(self) -> dict[str, int]:
        """Bytes of blocks that the accelerator holds now, by part, and of the scratch buffer."""
        blocks = {} if self._offload is None else self._offload.held_bytes()
        return {**blocks, "scratch": self._backbone.scratch_bytes}

    def master(self, tensor: TensorEntry) -> torch.Tensor:
        """A copy of a block's tensor at θ, fp32 [numel], on the device that computes."""
        self.replica.sync(tensor.block)
        return self.replica.parameters[tensor.name].to(self.device, copy=True)

    @torch.inference_mode()
    def prepare(self, batch: Batch, active: frozenset[int], signs: int = 2) -> PreparedBatch:
        """Computes the prefix of `batch` for a client that activates `active` and lives as `use_placement` said.

        `signs`: 2 for pairs, 1 for θ + μz alone (dense directions only).
        """
        self._enter(active)
        if self._is_written(batch):  # every sign reads the prompts anew, and writes behind them
            return PreparedBatch(batch, {}, active, (1.0, -1.0)[:signs])
        batch = self.layout.of(batch, self.head)
        return self._backbone.prepare(batch, inputs_of(self.loaded, batch), active, signs)

    def pair(self, prepared: PreparedBatch, perturbation: Perturbation) -> tuple[float, float]:
        """(F(θ + μz), F(θ − μz)) on the prepared batch: mean losses in fp32."""
        plus, minus = self.losses([prepared], perturbation)[0]
        return plus, minus

    @torch.inference_mode()
    def losses(self, prepared: Sequence[PreparedBatch], perturbation: Perturbation) -> list[tuple[float, ...]]:
        """Mean losses in fp32 of several batches along one direction, at θ + μz and, with two signs, at θ − μz. The
        loss of a batch that is rewarded is its mean reward with the sign turned.

        Each has the bits it has alone. μ = 0 gives F(θ), by the passes that give F(θ + μz).
        """
        if self._offload is not None:
            assert len(prepared) == 1, "an accelerator holds one client's blocks at a time"
            self._enter(prepared[0].active)
        if self._is_written(prepared[0].batch):
            return [
                tuple(self._judged(texts, each.batch) for texts in self.decode_pair(each, perturbation))
                for each in prepared
            ]
        states = self._backbone.perturbed(prepared, perturbation)
        return [self._mean_losses(each, hidden) for each, hidden in zip(prepared, states, strict=True)]

    @torch.inference_mode()
    def example_losses(self, prepared: PreparedBatch, perturbation: Perturbation) -> np.ndarray:
        """float64 [S, G]: losses of the groups of a batch (`Perturbation.shared_by`), each along its own direction, at
        θ + μz and, with two signs, at θ − μz.

        The loss of a group is the sum over its items, over the mean number of items in a group. So the mean over the
        groups is the mean loss of the batch. μ = 0 gives the losses at θ, by the passes that give those at θ + μz.
        """
        self._enter(prepared.active)
        (hidden,) = self._backbone.perturbed([prepared], perturbation)
        batch, groups = prepared.batch, ExampleGroups.of(prepared.batch, perturbation.shared_by)
        items = self.head.row_items(batch)
        parts = hidden.chunk(len(prepared.signs))
        return np.stack([groups.sums(self.head.losses(part, batch)[0], items) for part in parts])

    def require_examples(self) -> None:
        """Checks that every module which reads a tensor in scope can compute with a direction for each example.

        Raises:
            ModelError: names the first that cannot.
        """
        for module, tensor in self._backbone.tensors.not_by_example:
            raise ModelError(
                f"model.path={self.loaded.label}: {module} reads {tensor}, and cannot do so with a direction for each "
                "example: set zo.directions_per=batch, or a zo.scope without that tensor"
            )

    @torch.inference_mode()
    def decode(self, batch: Batch) -> list[str]:
        """What the model at θ writes behind the prompt of each row (`prompts_of`), greedily."""
        assert self.decoder is not None
        with self.moved(frozenset()):
            return self.decoder.texts(prompts_of(batch))

    @torch.inference_mode()
    def decode_pair(self, prepared: PreparedBatch, perturbation: Perturbation) -> list[list[str]]:
        """What the model writes behind each row's prompt at θ + μz and, with two signs, at θ − μz: a list per sign.

        Perturbed copies of all active blocks are held while a sign decodes. μ = 0 gives the texts of θ.
        """
        assert self.decoder is not None
        prompts, answers = prompts_of(prepared.batch), []
        for sign in prepared.signs:
            with self.moved(prepared.active, perturbation, sign):
                answers.append(self.decoder.texts(prompts))
        return answers

    @contextlib.contextmanager
    def moved(
        self, active: frozenset[int], perturbation: Perturbation | None = None, sign: float = 1.0
    ) -> Iterator[None]:
        """Inside, whole passes run at θ + sign · μz on the active blocks, whose copies are held; None: at θ."""
        self._enter(active)
        with contextlib.ExitStack() as stack:
            if perturbation is not None:
                stack.enter_context(self._backbone.tensors.held(active, perturbation, sign))
            yield

    def _mean_losses(self, prepared: PreparedBatch, hidden: torch.Tensor) -> tuple[float, ...]:
        return tuple(self._mean_loss(part, prepared.batch) for part in hidden.chunk(len(prepared.signs)))

    def _mean_loss(self, hidden: torch.Tensor, batch: Batch) -> float:
        if self._is_judged(batch):
            return self._judged(chosen_texts(self.head.logits(hidden, batch), batch), batch)
        return float(self.head.losses(hidden, batch)[0].mean())

    def _is_judged(self, batch: Batch) -> bool:
        """Whether a batch counts by its answers' rewards."""
        return self._reward is not None and batch.references is not None

    def _is_written(self, batch: Batch) -> bool:
        """Whether it counts by answers that the model writes."""
        return self.decoder is not None and self._is_judged(batch)

    def _judged(self, texts: Sequence[str], batch: Batch) -> float:
        """The mean reward of a batch that is answered so, with the sign turned."""
        assert self._reward is not None
        assert batch.references is not None
        # The exact sum, rounded once: it depends on no order of adding.
        return -math.fsum(self._reward(texts, batch.references)) / len(batch)

    def training_loss(self, batch: Batch, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss on a batch with `tensors` (by their names) in the places of θ's, to be differentiated by them.

        For models whose θ is on the device that computes. Frozen tensors get no gradient.
        """
        assert self.store is None, "blocks must be where they compute"
        parts = [(name.rpartition("."), tensor) for name, tensor in tensors.items()]
        network = self.loaded.network
        with TensorsSwapped((network.get_submodule(module), key, tensor) for (module, _, key), tensor in parts):
            batch = self.layout.of(batch, self.head)
            hidden = self._backbone.hidden(inputs_of(self.loaded, batch), batch)
            return self.head.losses(hidden, batch)[0].mean()

    @torch.inference_mode()
    def evaluate(self, batches: Iterable[Batch], scores: bool = False) -> Evaluation:
        """Mean loss and accuracy at θ; the mean over items does not depend on how they are batched, up to rounding.

        `scores`: with `row_scores`.
        """
        self._enter(frozenset())
        total, right, items = 0.0, 0, 0
        predicted, spread = None, LogitSpread()
        texts: list[str] = []
        every_loss, every_count, every_label, every_score, every_reward = [], [], [], [], []
        for whole in batches:
            batch = self.layout.of(whole, self.head)
            logits = self.head.logits(self._backbone.hidden(inputs_of(self.loaded, batch), batch), batch)
            losses, correct, count = self.head.losses_of(logits, batch)
            total += float(losses.double().sum())
            items += count
            spread.add(logits)
            answers = [] if self.decoder is None else self.decoder.texts(prompts_of(batch))
            texts += answers
            every_loss.append(losses)
            every_count.append(self.head.row_items(batch))
            if self._reward is not None and batch.references is not None:
                every_reward.append(self._reward(answers or chosen_texts(logits, batch), batch.references))
            if correct is not None:
                right += int(correct.sum())
                every_label.append(logits.argmax(dim=1))
                if scores:
                    every_score.append(torch.softmax(logits.double(), dim=1).cpu())
                counts = torch.bincount(every_label[-1], minlength=logits.shape[1])
                predicted = counts if predicted is None else predicted + counts
        accuracy, by_label = (None, None) if predicted is None else (right / items, tuple(predicted.tolist()))
        row_items = torch.cat(every_count).cpu().numpy()
        row_of_item = np.repeat(np.arange(len(row_items)), row_items)
        return Evaluation(
            loss=total / items,
            accuracy=accuracy,
            items=items,
            spread=spread.value(),
            predicted=by_label,
            row_losses=np.bincount(row_of_item, torch.cat(every_loss).double().cpu().numpy(), len(row_items)),
            row_items=row_items,
            row_labels=torch.cat(every_label).cpu().numpy() if every_label else None,
            row_scores=torch.cat(every_score).numpy() if every_score else None,
            row_texts=None if self.decoder is None else tuple(texts),
            row_rewards=np.concatenate(every_reward) if every_reward else None,
        )

    def _enter(self, active: frozenset[int]) -> None:
        """The blocks of a client, or those of an evaluation: it needs no master, and packed matrices would not be θ."""
        if self._offload is None:
            return
        placement = self._placement
        if not active and placement.format != "compute":
            placement = STREAMED
        if not active and self.store is not None and not self.store.apart:
            placement = RESIDENT
        self._offload.enter(placement, active)
