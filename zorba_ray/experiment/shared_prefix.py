"""Whether a run computes once per batch what all of its rows begin with, judged before it begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.data import TokenTable, shared_length, with_shared
from zorba_ray.errors import ModelError
from zorba_ray.models import Batch, TaskModel
from zorba_ray.models.loaded import running
from zorba_ray.models.pair_check import ROUNDING


@dataclass(frozen=True)
class SharedPrefix:
    """What was found of a run's rows."""

    tokens: int
    """P: first tokens of all training rows that a batch computes once; 0: each row computes all of its own."""
    note: str
    """A sentence for the user; empty where rows do not begin alike."""


def settled_prefix(
    model: TaskModel, train: TokenTable, begun: int | None, check: Callable[[bool], None]
) -> SharedPrefix:
    """Judges the model's pairs, with shared tokens if the training rows have any, else or where they fail without.

    Args:
        begun: what the ledger of a run that goes on says; None: the run is new.
        check: judges pairs on batches with shared tokens, or without.

    Raises:
        ModelError: the pairs are wrong without shared tokens, or with those that the run began with.
    """
    shared = shared_length(train, None if begun is None else train.tokens[:begun])
    if not shared or not model.loaded.causal:
        check(False)
        return SharedPrefix(0, "")
    alike = f"all training rows begin with the same {shared:,} tokens"
    try:
        check(True)
        require_same_losses(model, replace(train, shared=shared))
    except ModelError as error:
        if begun is not None:
            raise ModelError(
                f"{error} By its ledger this run computes the {shared} tokens with which all rows begin once per "
                "batch: go on with the versions of torch and transformers with which it began, or begin a new run"
            ) from error
        check(False)
        return SharedPrefix(0, f"{alike}: each row computes them, as this model cannot take them once")
    return SharedPrefix(shared, f"{alike}: a batch computes them once")


def shared_tables(shared: int, tables: Sequence[TokenTable]) -> list[TokenTable]:
    """Train, validation and test, each with what all of its rows have of the training rows' shared tokens."""
    beginning = tables[0].tokens[:shared]
    return [with_shared(table, beginning) for table in tables]


def require_same_losses(model: TaskModel, table: TokenTable) -> None:
    """Whether the shortest and the longest row of a table, as they are, have one loss with shared tokens and without:
    some models compute otherwise in long rows than in short ones.

    Raises:
        ModelError: the losses differ by more than rounding.
    """
    order = np.argsort(table.lengths, kind="stable")
    pad = int(model.loaded.tokenizer.pad_token_id)
    batch = replace(Batch.of(*table.collate(order[[0, -1]], pad)), references=None).to(model.device)
    with running(model.loaded.label):
        packed, whole = (model.evaluate([each]).loss for each in (batch, replace(batch, shared=0)))
    allowed = 2 * ROUNDING[model.compute] * max(1.0, abs(whole))
    if not abs(packed - whole) <= allowed:
        raise ModelError(
            f"model.path={model.loaded.label}: two rows of data.path have the loss {whole:.7g}, and {packed:.7g} with "
            f"their first {table.shared} tokens shared"
        )
