"""Packed batches have the losses of whole rows, in every head, family and way to compute a pair."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.support.architectures import is_causal, tiny
from tests.support.pair_checks import PAIRS, as_loaded, checked_model
from tests.support.tiny_models import BLOCKS, DECODERS, LABEL_WORDS, VOCABULARY, tiny_batch, tiny_task_model
from zorba_ray.config import ModelConfig
from zorba_ray.data import OptionTable, TokenTable
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ModelError
from zorba_ray.experiment.row_layout import SettledRows, require_same_losses, settled_rows, shared_tables
from zorba_ray.models import STREAMED, Batch, Evaluation, HostStore, Perturbation, TaskModel
from zorba_ray.models.heads import OptionsHead
from zorba_ray.models.logits import logits_of
from zorba_ray.models.packed_attention import packed_attention
from zorba_ray.models.packing import Packing
from zorba_ray.models.pair_check import PairPath, check_pairs
from zorba_ray.models.plain_loss import PlainLoss
from zorba_ray.models.row_layout import RowLayout, inputs_of

SHARED = 4
MOVE = Perturbation(0xABCDEF, 0, 0.02, "rademacher")
SPREAD = frozenset({1, 3})
"""A frozen block behind an active one, and a prefix of blocks."""
LAYOUTS = (RowLayout(), RowLayout(unpadded=True), RowLayout(unpadded=True, reads=True))
TAKEN = ("gemma", "gemma2", "gemma3_text", "gpt2", "llama", "mistral", "mixtral", "opt", "phi3", "qwen2", "qwen3")
WHOLE = ("bloom", "falcon", "mamba", "roberta")
"""Biases by distance, an attention of its own, a recurrence, positions that do not begin at 0."""


def alike(batch: Batch, shared: int = SHARED) -> Batch:
    """The same rows behind `shared` tokens that all of them begin with."""
    generator = torch.Generator().manual_seed(9)
    lead = torch.randint(13, VOCABULARY, (1, shared), generator=generator).expand(len(batch.ids_BT), -1)
    ids, mask = torch.cat([lead, batch.ids_BT], 1), torch.cat([torch.ones_like(lead), batch.mask_BT], 1)
    return dataclasses.replace(batch, ids_BT=ids, mask_BT=mask, shared=shared)


def whole(batch: Batch) -> Batch:
    return dataclasses.replace(batch, shared=0)


def ragged(batch: Batch) -> Batch:
    """The same rows without what they share."""
    return dataclasses.replace(batch, ids_BT=batch.ids_BT[:, SHARED:], mask_BT=batch.mask_BT[:, SHARED:], shared=0)


def pairs(
    model: TaskModel, batches: Sequence[Batch], active: frozenset[int], signs: int = 2
) -> list[tuple[float, ...]]:
    return model.losses([model.prepare(batch, active, signs) for batch in batches], MOVE)


def apart(model: TaskModel, batch: Batch, active: frozenset[int] = SPREAD, signs: int = 2) -> float:
    """Largest difference between the losses of a batch in any layout and of its whole rows."""
    model.layout = RowLayout()
    ((plain),) = pairs(model, [whole(batch)], active, signs)
    found = []
    for model.layout in LAYOUTS:
        (packed,) = pairs(model, [batch], active, signs)
        found += [abs(one - other) for one, other in zip(packed, plain, strict=True)]
    return max(found)


def evaluations(model: TaskModel, batch: Batch) -> list[Evaluation]:
    """Of its whole rows, then in every layout."""
    found = []
    for model.layout, each in ((RowLayout(), whole(batch)), *((layout, batch) for layout in LAYOUTS)):
        found.append(model.evaluate([each]))
    return found


def with_answers(batch: Batch) -> Batch:
    """The last tokens are scored, in one row also shared ones."""
    scored = torch.arange(batch.ids_BT.shape[1]).expand_as(batch.ids_BT) >= SHARED + 2
    scored = scored.clone()
    scored[0, SHARED - 2 :] = True
    return dataclasses.replace(batch, scored_BT=scored)


def with_options(rows: int = 3) -> Batch:
    """Rows with two and three options of one to three tokens."""
    generator = np.random.default_rng(3)
    lead = generator.integers(13, VOCABULARY, SHARED).tolist()
    options = [[(14,), (15, 16, 17), (15, 18)][: 2 + row % 2] for row in range(rows)]
    texts = [lead + generator.integers(13, VOCABULARY, 2 + row).tolist() for row in range(rows)]
    table = TokenTable.from_lists(texts, np.arange(rows) % 2)
    table = dataclasses.replace(table, options=OptionTable.from_lists(options), shared=SHARED)
    return Batch.of(*table.collate(np.arange(rows), 0))


class TestTheLosses:
    @pytest.mark.parametrize("active", [SPREAD, frozenset(range(BLOCKS)), frozenset({BLOCKS - 1})], ids=str)
    @pytest.mark.parametrize("kind", [*DECODERS, "bert"])
    def test_are_those_of_whole_rows(self, kind: str, active: frozenset[int]) -> None:
        model, batch = tiny_task_model(kind), alike(tiny_batch(kind, 5, 6))
        for each in (batch, ragged(batch)) if kind in DECODERS else (ragged(batch),):
            assert apart(model, each, active) < 1e-5
            assert apart(model, each, active, signs=1) < 1e-5
            plain, *packed = evaluations(model, each)
            for found in packed:
                assert found.predicted == plain.predicted
                np.testing.assert_allclose(found.row_losses, plain.row_losses, atol=1e-5)

    @pytest.mark.parametrize("rank", [0, 2])
    def test_of_a_language_model_and_of_answers(self, rank: int) -> None:
        model, batch = tiny_task_model("llama", head="lm", rank=rank), alike(tiny_batch("llama", 4, 6))
        for each in (batch, with_answers(batch)):
            assert apart(model, each) < 1e-5
            plain, *packed = evaluations(model, each)
            for found in packed:
                assert found.items == plain.items
                np.testing.assert_allclose(found.row_losses, plain.row_losses, atol=1e-4)

    def test_of_options(self) -> None:
        model = tiny_task_model("qwen2")
        model.head = OptionsHead(logits_of(model.loaded, None), per_token=False)
        assert apart(model, with_options()) < 1e-5

    def test_of_backpropagation(self) -> None:
        model, batch = tiny_task_model("gpt2"), alike(tiny_batch("gpt2", 3, 5))
        gradients = []
        for model.layout, each in ((RowLayout(), whole(batch)), *((layout, batch) for layout in LAYOUTS)):
            tensors = {
                e.name: model.master(e).view(e.shape).requires_grad_() for e in model.replica.manifest.moved("all")
            }
            model.training_loss(each, tensors).backward()
            gradients.append(torch.cat([tensor.grad.flatten() for tensor in tensors.values()]))  # type: ignore[union-attr]
        assert all(torch.allclose(gradients[0], other, atol=1e-5) for other in gradients[1:])

    def test_every_token_is_computed_once(self) -> None:
        batch = alike(tiny_batch("llama", 5, 6))
        real = int(batch.mask_BT.sum())
        model, shapes = tiny_task_model("llama"), dict[str, list[tuple[int, ...]]]()
        first, last = model.loaded.blocks[0], cast(Any, model.loaded.blocks[-1])
        for name, module in (("first", first), ("keys", last.self_attn.k_proj), ("feed-forward", last.mlp.up_proj)):
            noted = shapes[name] = []
            module.register_forward_pre_hook(lambda _, args, noted=noted: noted.append(tuple(args[0].shape[:2])))
        for model.layout in LAYOUTS:
            model.evaluate([batch])
        packed = real - 4 * SHARED
        assert shapes["first"] == [(1, SHARED + 5 * 6), (1, packed), (1, packed)]
        assert shapes["keys"] == shapes["first"]
        assert shapes["feed-forward"] == [(1, SHARED + 5 * 6), (1, packed), (1, 5)]

    def test_with_little_padding_rows_are_computed_whole(self) -> None:
        model, batch = tiny_task_model("bert"), tiny_batch("bert", 5, 20, "none")
        batch.mask_BT[0, -1] = 0
        assert RowLayout(unpadded=True).of(batch, model.head).packing is None
        batch.mask_BT[1:, -2:] = 0
        assert RowLayout(unpadded=True).of(batch, model.head).packing is not None
        assert RowLayout().of(batch, model.head).packing is None


def test_a_packing_knows_the_row_and_the_position_of_every_token() -> None:
    packing = Packing((5, 3, 4), 2)
    assert packing.rows_N.tolist() == [-1, -1, 0, 0, 0, 1, 2, 2]
    assert packing.positions_N.tolist() == [0, 1, 2, 3, 4, 2, 2, 3]
    assert packing.places(torch.tensor([0, 1, 2]), torch.tensor([4, 1, 3])).tolist() == [4, 1, 7]
    states = torch.arange(8.0)[None, :, None]
    mean = packing.mean_BN @ states[0]
    assert mean.flatten().tolist() == pytest.approx([2.0, 2.0, 3.5])
    assert packing.own.packed(packing.own.padded(states[:, 2:]).flatten(1, 2)).equal(states[:, 2:])
    some = Packing((5, 3), 0, (torch.tensor([1, 0]), torch.tensor([2, 4])))
    assert some.read is not None
    assert some.rows_of(2).tolist() == [0, 1]
    assert some.rows_of(8).tolist() == [0] * 5 + [1] * 3
    assert some.read.among_all(torch.ones(1, 2, 1), 8).flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 1]


class TestAClientsNumbers:
    """They are its own, whoever shares its direction and wherever its blocks live."""

    @pytest.mark.parametrize("layout", LAYOUTS, ids=["padded", "unpadded", "read"])
    def test_together_and_alone(self, layout: RowLayout) -> None:
        model = tiny_task_model("llama")
        model.layout = layout
        batches = [alike(tiny_batch("llama", rows, length, seed=rows)) for rows, length in ((3, 6), (1, 4), (4, 2))]
        alone = [pairs(model, [batch], SPREAD)[0] for batch in batches]
        assert pairs(model, batches, SPREAD) == alone
        assert pairs(model, batches[::-1], SPREAD) == alone[::-1]

    @pytest.mark.parametrize("rank", [0, 2])
    @pytest.mark.parametrize("store", [HostStore(), HostStore(apart=True)], ids=["at home", "apart"])
    def test_resident_and_streamed(self, store: HostStore, rank: int) -> None:
        batch = alike(tiny_batch("qwen2", 3, 6))
        streamed, resident = tiny_task_model("qwen2", store=store, rank=rank), tiny_task_model("qwen2", rank=rank)
        streamed.use_placement(STREAMED)
        for layout in LAYOUTS:
            streamed.layout = resident.layout = layout
            assert pairs(streamed, [batch], SPREAD) == pairs(resident, [batch], SPREAD)

    def test_nothing_of_the_way_stays(self) -> None:
        """After a packed pass transformers' functions are its own, also after one that fails."""
        before = [dict(each) for each in (ALL_ATTENTION_FUNCTIONS, ALL_MASK_ATTENTION_FUNCTIONS)]
        model, batch = tiny_task_model("llama"), alike(tiny_batch("llama", 3, 6))
        clean = pairs(model, [whole(batch)], SPREAD)
        pairs(model, [batch], SPREAD)
        packing = Packing((6, 5), 2)
        with pytest.raises(ZeroDivisionError), packed_attention(packing), packed_attention(packing):
            raise ZeroDivisionError
        assert [dict(each) for each in (ALL_ATTENTION_FUNCTIONS, ALL_MASK_ATTENTION_FUNCTIONS)] == before
        assert pairs(model, [whole(batch)], SPREAD) == clean


def checked(name: str, **mode: Any) -> tuple[TaskModel, PlainLoss]:
    attention = mode.pop("attention", None)
    model = checked_model(as_loaded(tiny(name, 0, attention), is_causal(name), name), **mode)
    config = ModelConfig.model_validate({"temperature": 5.0})
    return model, PlainLoss(model, config, "{text}", LABEL_WORDS, cpu_directions("auto"))


def rows_alike(model: TaskModel) -> list[Batch]:
    """Five rows with padding and two without, longer than the tiny models' sliding windows."""
    return [alike(tiny_batch(model.loaded.label, rows, 7, side), 6) for rows, side in ((5, "right"), (2, "none"))]


class TestThePairCheck:
    @pytest.mark.parametrize("attention", [None, "eager"], ids=["fused", "written out"])
    @pytest.mark.parametrize("name", TAKEN)
    def test_families_that_can(self, name: str, attention: str | None) -> None:
        model, plain = checked(name, attention=attention)
        for model.layout in LAYOUTS:
            assert check_pairs(model, plain, rows_alike(model), PAIRS).largest < 1e-5

    @pytest.mark.parametrize("name", ["bert", "modernbert"])
    def test_encoders_that_can(self, name: str) -> None:
        model, plain = checked(name)
        model.layout = RowLayout(unpadded=True)
        check_pairs(model, plain, [ragged(batch) for batch in rows_alike(model)], PAIRS)

    @pytest.mark.parametrize("mode", [{"rank": 2}, {"sixteen_bits": True}], ids=["low rank", "16 bits"])
    def test_ways_to_compute(self, mode: dict[str, Any]) -> None:
        model, plain = checked("llama", **mode)
        for model.layout in LAYOUTS:
            check_pairs(model, plain, rows_alike(model), PAIRS)

    @pytest.mark.parametrize("signs", [1, 2])
    @pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
    def test_a_direction_for_each_example(self, name: str, signs: int) -> None:
        model, plain = checked(name, rank=1)
        path = PairPath(signs, False, "rademacher", shared_by=1)
        for model.layout in LAYOUTS if is_causal(name) else LAYOUTS[:2]:
            check_pairs(model, plain, [ragged(batch) for batch in rows_alike(model)], path)

    @pytest.mark.parametrize("name", WHOLE)
    def test_families_that_cannot_are_found_out(self, name: str) -> None:
        model, plain = checked(name)
        batches = rows_alike(model)
        for model.layout, rows in ((LAYOUTS[0], batches), (LAYOUTS[1], [ragged(batch) for batch in batches])):
            with pytest.raises(ModelError):
                check_pairs(model, plain, rows, None)
        model.layout = RowLayout()
        check_pairs(model, plain, [whole(batch) for batch in batches], None)

    @pytest.mark.parametrize("fault", ["positions", "masks", "future", "keys", "read"])
    def test_faults_are_found(self, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import zorba_ray.models.packed_attention as module

        def positions(loaded: Any, batch: Batch) -> dict[str, torch.Tensor]:
            inputs = inputs_of(loaded, batch)
            return {**inputs, "position_ids": torch.arange(inputs["input_ids"].shape[1])[None]}

        real = module.PackedMask.rows.func

        def rows(mask: Any) -> torch.Tensor:
            made = real(mask)
            length = mask.packing.longest
            made = torch.ones(length, length, dtype=torch.bool).tril()[None, None] if made is None else made.clone()
            if fault == "masks":
                made[..., : mask.packing.shared] = False  # rows do not see what they share
            elif fault == "future":
                made[:] = True
            else:
                made[..., 0] = False
            return made

        model, plain = checked("llama")
        model.layout = LAYOUTS[-1]
        if fault == "positions":
            monkeypatch.setattr("zorba_ray.models.task.inputs_of", positions)
        elif fault == "read":
            seen = module.PackedMask.read.func
            monkeypatch.setattr(module.PackedMask, "read", property(lambda mask: torch.ones_like(seen(mask))))
        else:
            monkeypatch.setattr(module.PackedMask, "rows", property(rows))
        with pytest.raises(ModelError, match="not the model's own"):
            check_pairs(model, plain, rows_alike(model), PAIRS)


def table_of(*rows: Sequence[int], shared: int = 0) -> TokenTable:
    return dataclasses.replace(TokenTable.from_lists(rows, np.zeros(len(rows), dtype=np.int64)), shared=shared)


class TestSettling:
    LEAD = tuple(range(13, 31))

    def test_it_is_taken_where_the_pairs_are_right(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, asked = tiny_task_model("llama"), []
        train = table_of((*self.LEAD, 5, 6), (*self.LEAD, 7))
        found = settled_rows(model, train, None, asked.append)
        assert (found.shared, found.layout, asked) == (18, LAYOUTS[1], [True])
        assert found.note == "all training rows begin with the same 18 tokens: a batch computes them once"
        begun = SettledRows(0, RowLayout())
        assert settled_rows(model, train, begun, asked.append) == begun, "a run goes on as it began"
        assert model.layout == RowLayout()
        encoder = settled_rows(tiny_task_model("bert"), train, None, asked.append)
        assert (encoder.shared, encoder.layout) == (0, LAYOUTS[1])
        assert asked == [True, False, False]
        monkeypatch.setattr("zorba_ray.experiment.row_layout.LEAST", 1)
        assert settled_rows(model, train, None, asked.append).layout == LAYOUTS[2], "blocks are large"
        assert model.layout == LAYOUTS[2]
        assert settled_rows(tiny_task_model("bert"), train, None, asked.append).layout == LAYOUTS[1]

    def test_less_is_left_out_where_that_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zorba_ray.experiment.row_layout.LEAST", 1)
        model = tiny_task_model("llama")

        def check(shared: bool) -> None:
            if shared or model.layout.reads:
                raise ModelError("not the model's own")

        train = table_of((*self.LEAD, 5, 6), (*self.LEAD, 7))
        found = settled_rows(model, train, None, check)
        assert (found.shared, found.layout, model.layout) == (0, RowLayout(), RowLayout())
        assert "each row computes them" in found.note
        assert settled_rows(model, table_of((5, 6), (7,)), None, check).layout == LAYOUTS[1]
        for begun in (SettledRows(18, RowLayout()), SettledRows(0, LAYOUTS[2])):
            with pytest.raises(ModelError, match=r"not the model's own.*leaves out tokens.*with which it began"):
                settled_rows(model, train, begun, check)

    def test_real_rows_are_held_against_each_other(self) -> None:
        """A window that the model's mask does not tell of shows in rows that are longer than it, not in short ones."""
        model = tiny_task_model("llama")
        require_same_losses(model, table_of((*self.LEAD, 5, 6), (*self.LEAD, 7), shared=18))
        with pytest.raises(ModelError, match="without padding and their first 18 tokens shared"):
            require_same_losses(model, table_of((*self.LEAD, 5, 6), (*self.LEAD[:-1], 5, 7), shared=18))

    def test_other_splits_share_what_they_have(self) -> None:
        train = table_of((*self.LEAD, 5), (*self.LEAD, 6))
        less = table_of((*self.LEAD, 5), (*self.LEAD[:-1], 6, 7))
        ends = table_of((*self.LEAD, 5), self.LEAD)
        other = table_of((4, *self.LEAD, 5))
        assert [table.shared for table in shared_tables(18, [train, less, ends, other])] == [18, 17, 17, 0]
        assert [table.shared for table in shared_tables(0, [train, less])] == [0, 0]


def test_a_window_slides_over_the_shared_tokens() -> None:
    """Keys of a row begin to drop out of the window among the shared ones."""
    settings = transformers.MistralConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        num_hidden_layers=2, sliding_window=5, max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = checked_model(as_loaded(transformers.MistralForCausalLM(settings), True, "mistral"))
    config = ModelConfig.model_validate({"temperature": 5.0})
    plain = PlainLoss(model, config, "{text}", LABEL_WORDS, cpu_directions("auto"))
    check_pairs(model, plain, [alike(tiny_batch("mistral", 4, 6), 9)], PAIRS)
