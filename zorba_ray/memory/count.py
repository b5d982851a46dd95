"""Counts the bytes of a client: its real step runs on fake tensors, which have no memory; the live ones are summed."""

import contextlib
import gc
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from zorba_ray.config import LocalStep, ModelConfig
from zorba_ray.memory.activations import Workload
from zorba_ray.memory.footprint import PARTS, Footprint
from zorba_ray.memory.paired_client import PairedClient, PairedStep
from zorba_ray.memory.plain_client import PlainClient
from zorba_ray.memory.storage_counter import StorageCounter
from zorba_ray.models import Batch, LoadedModel
from zorba_ray.models.decode import Decoder, Ending
from zorba_ray.models.heads import LabelPromptsHead, LabelWordsHead
from zorba_ray.models.logits import LinearLogits
from zorba_ray.models.packed_rows import AT_ONCE
from zorba_ray.models.packing import Packing
from zorba_ray.models.row_layout import inputs_of
from zorba_ray.models.shapes import skeleton

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
ClientStep = PairedStep | LocalStep


def counted(model: ModelConfig, dtype: str, work: Workload, step: ClientStep) -> Footprint:
    """Bytes by part at the peak of a step, with rows without padding. No memory is allocated. Takes seconds.

    Raises:
        ModelError: as `skeleton`.
    """
    with FakeTensorMode(), StorageCounter() as counter:
        run = prepared(skeleton(model, DTYPES[dtype]), work, step, counter)
        gc.collect()
        counter.restart()
        run()
        assert not counter.peak.keys() - set(PARTS), counter.peak
        return Footprint({part: counter.peak.get(part, 0) for part in PARTS}, "counted")


def prepared(
    loaded: LoadedModel, work: Workload, step: ClientStep, counter: StorageCounter, device: str = "cpu"
) -> Callable[[], None]:
    """Builds the client, and returns a function that takes one of its steps."""
    ids = torch.zeros(work.batch_size, work.length, dtype=torch.long, device=device)
    labels = torch.zeros(work.batch_size, dtype=torch.long, device=device)
    batch = Batch(ids, torch.ones_like(ids), labels)
    # A method's own walk takes whole rows.
    if isinstance(step, PairedStep) and work.packed:
        batch = replace(batch, packing=Packing(_lengths(work), work.shared, device=device))
    whole = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
    inputs = whole if batch.packing is None else inputs_of(loaded, batch)
    write = _writer(loaded, work, counter) if work.written else None
    if isinstance(step, PairedStep):
        paired = PairedClient(loaded, step, counter)
        if write is not None:
            return _moved(paired, write, counter)
        head = _head_loss(loaded, work, batch)

        def pair() -> None:
            with torch.no_grad():
                halves = paired.pair(batch, inputs).chunk(2)
                with counter.part("logits"):
                    for half in halves:
                        head(half)

        return pair
    if write is not None:
        return PlainClient(loaded, step, write, frozenset(), counter).step
    head = _head_loss(loaded, work, batch)

    def loss() -> torch.Tensor:
        hidden = loaded.backbone(**inputs, **({"use_cache": False} if loaded.causal else {}))[0]
        unpacked = min(AT_ONCE, work.logits) if step.stem_format != "compute" and work.positions > 1 else 0
        with counter.part("scratch"):
            rows = torch.empty(unpacked, work.hidden, dtype=hidden.dtype, device=device)
        with counter.part("logits"):
            value = head(hidden)
        del rows
        return value

    return PlainClient(loaded, step, loss, _unread(loaded, work), counter).step


def _lengths(work: Workload) -> list[int]:
    """Of the rows that take most: full ones, but where padding is left out for one token, so that rows are copied side
    by side for their attention."""
    return [work.length] * (work.batch_size - 1) + [work.length - (work.unpadded and work.batch_size > 1)]


def _writer(loaded: LoadedModel, work: Workload, counter: StorageCounter) -> Callable[[], torch.Tensor]:
    """Writes `work.written` tokens behind prompts of full length; gives the last logits."""
    output = loaded.network.get_output_embeddings()
    linear = LinearLogits(output.weight, getattr(output, "bias", None))
    padded = replace(loaded, tokenizer=SimpleNamespace(pad_token_id=0))  # a skeleton has none
    decoder = Decoder(padded, linear, Ending(work.written, frozenset()))
    last = torch.empty(0)

    def write() -> torch.Tensor:
        left = work.written

        def choose(logits: torch.Tensor) -> torch.Tensor:
            nonlocal last, left
            last, left = logits, left - 1
            return logits.argmax(dim=-1)

        decoder.follow([[0] * work.length] * work.batch_size, choose, lambda: left == 0)
        return last

    return write


def _moved(paired: PairedClient, write: Callable[[], torch.Tensor], counter: StorageCounter) -> Callable[[], None]:
    """One sign: perturbed copies of the active blocks are held while answers are written."""

    def moved() -> None:
        with torch.no_grad(), contextlib.ExitStack() as stack:
            with counter.part("scratch"):
                stack.enter_context(paired.moved())
            write()

    return moved


def _head_loss(loaded: LoadedModel, work: Workload, batch: Batch) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from hidden states [B, T, H] to the mean loss.

    The head is label words or label prompts; with `work.positions` > 1 it is the next-token loss over the last of
    T − 1 positions. This loss is written out here: `LanguageModelHead` selects tokens by their values, which a fake
    tensor does not have. On a batch without padding both hold the same bytes.
    """
    if not loaded.causal:
        prompts = LabelPromptsHead(torch.empty(work.logits, work.hidden, device=batch.ids_BT.device), 1.0)
        return lambda hidden: prompts.losses(hidden, batch)[0].mean()
    output = loaded.network.get_output_embeddings()
    bias = getattr(output, "bias", None)
    if work.positions == 1:
        rows = torch.arange(work.logits, device=batch.ids_BT.device)
        linear = LinearLogits(output.weight[rows].detach(), None if bias is None else bias[rows].detach())
        words = LabelWordsHead(linear)
        return lambda hidden: words.losses(hidden, batch)[0].mean()

    def next_token(hidden: torch.Tensor) -> torch.Tensor:
        read = hidden[:, -work.positions : -1].flatten(0, 1)
        if batch.packing is not None:  # of packed rows, any that are as many
            read = hidden[0, torch.zeros(work.batch_size * (work.positions - 1), dtype=torch.long)]
        logits = functional.linear(read, output.weight, bias).float()
        targets = batch.ids_BT[:, 1 - work.positions :].flatten()
        return functional.cross_entropy(logits, targets, reduction="none").mean()

    return next_token


def _unread(loaded: LoadedModel, work: Workload) -> frozenset[str]:
    """Names of the parameters that the loss does not use: BERT's pooler, and for label words an output layer that is
    not tied to the embeddings."""
    if not loaded.causal:
        return frozenset(name for name, _ in loaded.network.named_parameters() if name.startswith("pooler."))
    if work.positions > 1:
        return frozenset()
    inputs = {id(parameter) for parameter in loaded.backbone.parameters()}
    output = {id(parameter) for parameter in loaded.network.get_output_embeddings().parameters()} - inputs
    return frozenset(name for name, parameter in loaded.network.named_parameters() if id(parameter) in output)
