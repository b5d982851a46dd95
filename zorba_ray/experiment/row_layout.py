"""Which tokens of its batches a run computes, judged before it begins: each of what rows share once, no padding, and in
the last block only what the head reads, as far as the model's losses stay what they are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.data import TokenTable, shared_length, with_shared
from zorba_ray.errors import ModelError
from zorba_ray.models import Batch, TaskModel
from zorba_ray.models.loaded import running
from zorba_ray.models.pair_check import ROUNDING
from zorba_ray.models.row_layout import RowLayout

LEAST = 2**19
"""Parameters of a block from which on it answers for the tokens that are read alone. Measured: no gain at 150,000, but
most of the block at 3.5 million."""


@dataclass(frozen=True)
class SettledRows:
    """What was found of a run's rows."""

    shared: int
    """P: first tokens of all training rows that a batch computes once; 0: each row computes all of its own."""
    layout: RowLayout
    """What else batches leave out."""
    note: str = ""
    """A sentence for the user; empty where rows do not begin alike."""


def settled_rows(
    model: TaskModel,
    train: TokenTable,
    begun: SettledRows | None,
    check: Callable[[bool], None],
    alike: bool = True,
) -> SettledRows:
    """Judges the model's pairs, with all that its batches can leave out, else with less. The model has the layout then.

    Args:
        begun: what the ledger of a run that goes on says; None: the run is new.
        check: judges pairs with the model's layout, on batches with shared tokens, or without.
        alike: tokens that all rows share may be computed once.

    Raises:
        ModelError: the pairs are wrong on whole rows, or with the layout that the run began with.
    """
    shared = shared_length(train, None if begun is None else train.tokens[: begun.shared])
    if not (alike and model.loaded.causal):
        shared = 0
    begin = f"all training rows begin with the same {shared:,} tokens"
    once = f"{begin}: a batch computes them once" if shared else ""
    if begun is not None:
        found = replace(begun, shared=shared)
        try:
            _judge(model, train, found, check)
        except ModelError as error:
            if not shared and begun.layout == RowLayout():
                raise
            raise ModelError(
                f"{error} By its ledger this run leaves out tokens that need not be computed: go on with the versions "
                "of torch and transformers with which it began, or begin a new run"
            ) from error
        return replace(found, note=once)
    for layout in _layouts(model):
        try:
            _judge(model, train, SettledRows(shared, layout), check)
        except ModelError:
            continue
        return SettledRows(shared, layout, once)
    whole = SettledRows(
        0, RowLayout(), f"{begin}: each row computes them, as this model cannot take them once" if shared else ""
    )
    _judge(model, train, whole, check)
    return whole


def _layouts(model: TaskModel) -> Iterator[RowLayout]:
    """Those to be tried, the one that leaves out most first."""
    last = model.replica.manifest.by_block[model.replica.manifest.blocks - 1]
    if model.loaded.causal and sum(entry.numel for entry in last) >= LEAST:
        yield RowLayout(unpadded=True, reads=True)
    yield RowLayout(unpadded=True)


def _judge(model: TaskModel, train: TokenTable, rows: SettledRows, check: Callable[[bool], None]) -> None:
    """Raises ModelError: the model's losses are others with these rows."""
    model.layout = rows.layout
    check(rows.shared > 0)
    if rows.shared or rows.layout != RowLayout():
        require_same_losses(model, replace(train, shared=rows.shared))


def shared_tables(shared: int, tables: Sequence[TokenTable]) -> list[TokenTable]:
    """Train, validation and test, each with what all of its rows have of the training rows' shared tokens."""
    beginning = tables[0].tokens[:shared]
    return [with_shared(table, beginning) for table in tables]


def require_same_losses(model: TaskModel, table: TokenTable) -> None:
    """Whether the shortest and the longest row of a table, as they are, have one loss with the model's layout and as
    whole rows: some models compute otherwise in long rows than in short ones.

    Raises:
        ModelError: the losses differ by more than rounding.
    """
    order = np.argsort(table.lengths, kind="stable")
    pad = int(model.loaded.tokenizer.pad_token_id)
    batch = replace(Batch.of(*table.collate(order[[0, -1]], pad)), references=None).to(model.device)
    layout = model.layout
    with running(model.loaded.label):
        packed = model.evaluate([batch]).loss
        model.layout = RowLayout()
        try:
            whole = model.evaluate([replace(batch, shared=0)]).loss
        finally:
            model.layout = layout
    allowed = 2 * ROUNDING[model.compute] * max(1.0, abs(whole))
    if not abs(packed - whole) <= allowed:
        what = f" and their first {table.shared} tokens shared" if table.shared else ""
        raise ModelError(
            f"model.path={model.loaded.label}: two rows of data.path have the loss {whole:.7g}, and {packed:.7g} "
            f"without padding{what}"
        )
