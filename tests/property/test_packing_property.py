"""Any number of shared tokens, and rows of any length: what rows have in common is found, and losses do not change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tiny_models import VOCABULARY, tiny_task_model
from zorba_ray.data import BatchOrder, TokenTable, shared_length, with_shared
from zorba_ray.data.shared_prefix import LEAST_SHARED
from zorba_ray.models import Batch, Perturbation

ROWS = st.lists(st.lists(st.integers(4, 6), min_size=1, max_size=5), min_size=1, max_size=6)


def table_of(lead: list[int], rows: list[list[int]]) -> TokenTable:
    return TokenTable.from_lists([[*lead, *row] for row in rows], np.arange(len(rows)) % 3)


@given(st.integers(0, 150), ROWS, st.lists(st.integers(4, 6), max_size=160))
def test_it_is_the_longest_beginning_that_leaves_every_row_a_token(
    length: int, rows: list[list[int]], other: list[int]
) -> None:
    lead = [4 + place % 3 for place in range(length)]
    table = table_of(lead, rows)
    texts = [[*lead, *row] for row in rows]

    def naive(beginning: list[int]) -> int:
        alike = next((n for n, tokens in enumerate(zip(beginning, *texts, strict=False)) if len(set(tokens)) > 1), None)
        shortest = min(len(beginning), *(len(text) - 1 for text in texts))
        most = shortest if alike is None else min(alike, shortest)
        return most if most >= LEAST_SHARED else 0

    assert shared_length(table) == naive(texts[0])
    assert with_shared(table, np.array(other, dtype=np.int32)).shared == naive(other)


@pytest.fixture(scope="module")
def model():
    return tiny_task_model("llama", blocks=2)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_losses_do_not_depend_on_what_is_shared(model, data: st.DataObject) -> None:
    rows = data.draw(ROWS)
    table = table_of(data.draw(st.lists(st.integers(4, VOCABULARY - 1), max_size=12)), rows)
    most = int(table.lengths.min()) - 1
    texts = [table.tokens[a:b] for a, b in zip(table.starts[:-1], table.starts[1:], strict=True)]
    while any((text[:most] != texts[0][:most]).any() for text in texts):
        most -= 1
    shared = data.draw(st.sampled_from(sorted({0, min(1, most), most // 2, most})))
    packed, plain = (
        Batch.of(*dataclasses.replace(table, shared=each).collate(np.arange(len(rows)), 0)) for each in (shared, 0)
    )
    move, active = Perturbation(5, 0, 0.02, "gaussian"), frozenset({1})
    pairs = [model.losses([model.prepare(batch, active)], move)[0] for batch in (packed, plain)]
    assert pairs[0] == pytest.approx(pairs[1], abs=1e-5)


@given(ROWS, st.integers(0, 3))
def test_batches_by_tokens_count_what_is_computed(rows: list[list[int]], epoch: int) -> None:
    table = with_shared(table_of(list(range(20)), rows), np.arange(20, dtype=np.int32))
    assert table.shared >= 20 or len({tuple(row[:1]) for row in rows}) >= 1
    limit = table.shared + 12
    order = BatchOrder(1, 0, table.own_lengths, 4, limit - table.shared)
    for step in range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch):
        chosen = order.rows(step)
        assert table.shared + int(table.own_lengths[chosen].max()) * len(chosen) <= limit
