"""The check of forward pairs for a run: on which rows, and for which path."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import OptionTable, TokenTable
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ModelError
from zorba_ray.formats import Format
from zorba_ray.models import RESIDENT, STREAMED, Batch, TaskModel
from zorba_ray.models.decode_check import check_decoding
from zorba_ray.models.heads import OptionsHead
from zorba_ray.models.loaded import sample_ids
from zorba_ray.models.pair_check import PairPath, check_pairs
from zorba_ray.models.plain_loss import PlainLoss

_LENGTHS = ((6, 3, 4), (4, 4))
"""Tokens of the rows of each batch: one with padding, one without."""
_MOST_SHARED = 2
"""Most examples of those rows that share a direction, so that there are two groups."""
_SHARED = 3
"""Tokens that stand before all rows, where rows begin alike."""


def require_right_pairs(config: ExperimentConfig, model: TaskModel, shared: bool = False) -> str:
    """Checks a model's pairs as the run computes them; returns θ's SHA-256.

    Args:
        shared: rows begin alike, and their first tokens are computed once.

    Raises:
        ModelError: the losses are not those of the model.
    """
    before = model.replica.digest()
    data = config.data
    plain = PlainLoss(model, config.model, data.prompt, data.label_words, cpu_directions("auto"), config.task)
    batches = list(_batches(model, len(data.label_words), data.max_length))
    if isinstance(model.head, OptionsHead):
        batches = [_with_options(model, batch, data.max_length) for batch in batches]
    if shared:
        batches = [_beginning_alike(batch) for batch in batches]
    if config.row_kind in ("completion", "generation"):
        batches = [dataclasses.replace(batch, scored_BT=_answers(batch)) for batch in batches]
    for format in _formats(config, model):
        if model.store is not None:
            model.use_placement(dataclasses.replace(STREAMED if model.store.apart else RESIDENT, format=format))
        path = _path(config, model, format)
        check_pairs(model, plain, batches, path)
        if model.decoder is not None:
            signs = (1.0, -1.0)[: path.signs] if path and config.task_kind == "reward" else ()
            check_decoding(model, plain, batches[0], signs, format)
    if model.replica.digest() != before:
        raise ModelError(f"model.path={model.loaded.label}: a forward pair wrote θ: report this as a defect")
    return before


def _formats(config: ExperimentConfig, model: TaskModel) -> tuple[Format, ...]:
    """Those in which frozen matrices of some client are kept."""
    if model.store is None or not model.store.packs:
        return ("compute",)
    chosen = config.memory.frozen_format
    return ("compute", "int8", "nf4") if chosen == "auto" else (chosen,)


def _path(config: ExperimentConfig, model: TaskModel, format: Format) -> PairPath | None:
    if config.spec.backward:
        return None
    zo = config.zo
    # Blocks that come and go serve one client at a time.
    together = config.federation.seeds == "shared" and config.local_steps == 1 and model.store is None
    together = together and not zo.shared_by
    shared_by = min(zo.shared_by, _MOST_SHARED)
    return PairPath(1 if zo.difference == "forward" else 2, together, zo.distribution, format, shared_by)


def _batches(model: TaskModel, labels: int, max_length: int) -> Iterator[Batch]:
    """Short rows of tokens from all over the vocabulary."""
    pad = int(model.loaded.tokenizer.pad_token_id)
    tokens = [
        token for token in sample_ids(model.loaded.network, model.loaded.label).flatten().tolist() if token != pad
    ]
    place = 0
    for lengths in _LENGTHS:
        lengths = [min(length, max_length) for length in lengths]
        ids = torch.full((len(lengths), max(lengths)), pad, device=model.device)
        mask = torch.zeros_like(ids)
        for row, length in enumerate(lengths):
            ids[row, :length] = torch.tensor([tokens[(place + i) % len(tokens)] for i in range(length)])
            mask[row, :length] = 1
            place += length + 1
        yield Batch(ids, mask, torch.arange(len(lengths), device=model.device) % max(labels, 1))


def _beginning_alike(batch: Batch) -> Batch:
    """The same rows behind the first one's first tokens, which are computed once."""
    lead = batch.ids_BT[:1, :_SHARED].expand(len(batch.ids_BT), -1)
    ids, mask = (torch.cat(parts, dim=1) for parts in ((lead, batch.ids_BT), (torch.ones_like(lead), batch.mask_BT)))
    if (options := batch.options) is not None:
        moved = options.positions_N + _SHARED * (options.positions_N // batch.ids_BT.shape[1] + 1)
        options = dataclasses.replace(options, positions_N=moved)
    return dataclasses.replace(batch, ids_BT=ids, mask_BT=mask, options=options, shared=_SHARED)


def _with_options(model: TaskModel, batch: Batch, max_length: int) -> Batch:
    """The same rows with two to three options of one to three tokens each, some of which begin alike."""
    rows = [ids[mask.bool()].tolist() for ids, mask in zip(batch.ids_BT, batch.mask_BT, strict=True)]
    first, second, third, *_ = rows[0]
    options = [[(first,), (second, first, third), (third, second)][: 2 + row % 2] for row in range(len(rows))]
    table = TokenTable.from_lists([row[: max_length - 2] for row in rows], np.arange(len(rows)) % 2)
    table = dataclasses.replace(table, options=OptionTable.from_lists(options))
    return Batch.of(*table.collate(np.arange(len(rows)), int(model.loaded.tokenizer.pad_token_id))).to(model.device)


def _answers(batch: Batch) -> torch.Tensor:
    """bool [B, T]: the later half of each row, as an answer is."""
    lengths_B1 = batch.mask_BT.sum(dim=1, keepdim=True)
    return torch.arange(batch.ids_BT.shape[1], device=lengths_B1.device) >= lengths_B1 // 2
