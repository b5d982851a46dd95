"""Greedy decoding: the tokens of `model.generate`, whatever the batch, with a cache and without, at θ and at θ ± μz."""

import contextlib
import dataclasses
from typing import Any

import pytest
import torch

from tests.support.architectures import tiny
from tests.support.pair_checks import as_loaded
from tests.support.tiny_models import DECODERS, TinyTokenizer, tiny_batch, tiny_loaded, tiny_network
from zorba_ray.config import ModelConfig, TaskConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ConfigError, ModelError
from zorba_ray.models import Batch, HostStore, LoadedModel, TaskModel
from zorba_ray.models.cache_check import cache_is_right
from zorba_ray.models.decode import Decoder, Ending, ending_of, prompts_of
from zorba_ray.models.decode_check import check_decoding
from zorba_ray.models.logits import logits_of
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.plain_loss import PlainLoss, PlainStep

NEW = 7
TASK = TaskConfig(kind="generation", answer="{text}", max_new_tokens=NEW)


def loaded(kind: str) -> tuple[LoadedModel, Any]:
    """A model, and the same network untouched."""
    if kind in DECODERS:
        return tiny_loaded(kind), tiny_network(kind)
    return as_loaded(tiny(kind), True, kind), tiny(kind)


def decoder(model: LoadedModel, cached: bool, *ends: int) -> Decoder:
    with torch.inference_mode():
        return Decoder(model, logits_of(model, None), Ending(NEW, frozenset(ends)), cached)


def prompts(model: LoadedModel) -> list[list[int]]:
    """Four of different lengths."""
    vocabulary = model.network.get_input_embeddings().weight.shape[0]
    draw = torch.Generator().manual_seed(5)
    return [torch.randint(4, vocabulary, (length,), generator=draw).tolist() for length in (9, 2, 6, 4)]


def generated(network: Any, prompt: list[int], end: int | None = None) -> list[int]:
    """transformers' own answer to a prompt alone, up to what ends it."""
    ids = torch.tensor([prompt])
    answer = network.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, eos_token_id=end,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()  # fmt: skip
    return answer[: answer.index(end)] if end in answer else answer


@pytest.mark.parametrize("kind", [*DECODERS, "gemma3_text", "bloom"])
def test_the_tokens_are_those_of_generate_whatever_the_batch(kind: str) -> None:
    model, network = loaded(kind)
    rows = prompts(model)
    wanted = [generated(network, row) for row in rows]
    with torch.inference_mode():
        for cached in (True, False):
            assert decoder(model, cached).tokens(rows) == wanted, cached
            assert decoder(model, cached).tokens(rows[1:2]) == wanted[1:2], cached
    end = wanted[0][2]
    with torch.inference_mode():
        ended = decoder(model, True, end).tokens(rows)
    assert ended == [generated(network, row, end) for row in rows]
    assert len(ended[0]) <= 2, "a row that is done stays, and writes no more"


@pytest.mark.parametrize(
    ("kind", "right"),
    [("llama", True), ("opt", True), ("gemma3_text", True), ("jamba", True), ("mamba", False), ("openai-gpt", False),
     ("roberta as decoder", False)],
)  # fmt: skip
def test_a_cache_is_used_where_it_gives_the_logits_of_the_whole_text(kind: str, right: bool) -> None:
    """RoBERTa counts positions by the padding; Mamba has no keys."""
    model, _ = loaded(kind)
    with torch.inference_mode():
        assert cache_is_right(model, logits_of(model, None), 40) is right


def test_a_window_that_the_cache_gets_wrong_is_seen_where_texts_are_that_long(monkeypatch: pytest.MonkeyPatch) -> None:
    model = as_loaded(tiny("qwen2 with windows"), True, "qwen2")
    settings, cache = model.network.config, Decoder._read_cached
    monkeypatch.setattr(settings, "sliding_window", 20)

    def dense(self: Decoder, *args: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(settings, "sliding_window", 400)
            cache(self, *args)

    with torch.inference_mode():
        logits = logits_of(model, None)
        assert cache_is_right(model, logits, 40)
        monkeypatch.setattr(Decoder, "_read_cached", dense)
        assert cache_is_right(model, logits, 12), "no text gets there"
        assert not cache_is_right(model, logits, 40)


def task_model(kind: str, rank: int = 0, store: HostStore | None = None) -> TaskModel:
    return TaskModel(
        loaded(kind)[0], ModelConfig(), "{text}", (), "all", cpu_directions("auto"), rank=rank, store=store, task=TASK
    )  # fmt: skip


@pytest.mark.parametrize("store", [None, HostStore(), HostStore(torch.float32, True)])
@pytest.mark.parametrize("rank", [0, 2])
def test_a_pair_is_decoded_by_the_perturbed_model(rank: int, store: HostStore | None) -> None:
    """Against the network with its weights replaced by θ ± μz, row by row."""
    model, batch = task_model("llama", rank, store), tiny_batch("llama", 4, 7)
    move, active = Perturbation(9, 1, 0.2, "rademacher"), frozenset({1, 3})
    still = model.decode(batch)
    found = model.decode_pair(model.prepare(batch, active), move)
    plain = PlainLoss(model, ModelConfig(), "{text}", (), cpu_directions("auto"), TASK)
    for texts, sign in zip(found, (1.0, -1.0), strict=True):
        network = tiny_network("llama")
        for block in active:
            for entry in model.replica.manifest.scoped(block, "all"):
                network.get_parameter(entry.name).copy_(plain.tensor(entry, PlainStep(active, move, sign)))
        wanted = [TinyTokenizer(0).decode(generated(network, row, 2)) for row in prompts_of(batch)]
        assert texts == wanted
    assert found[0] != found[1]
    assert still not in found, "μ = 0.2 is felt"
    assert model.decode(batch) == still, "nothing is left of a pair"
    zero = dataclasses.replace(move, scale=0.0)
    assert model.decode_pair(model.prepare(batch, active, 1), zero) == [still]
    loss = model.evaluate([batch]).row_texts
    assert loss == tuple(still)


def test_a_prompt_ends_where_the_last_answer_begins() -> None:
    ids = torch.arange(12).view(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    marks = torch.tensor([[0, 1, 0, 0, 1, 1], [0, 0, 1, 1, 0, 0]], dtype=torch.bool)
    batch = Batch(ids, mask, torch.zeros(2, dtype=torch.long), scored_BT=marks)
    assert prompts_of(batch) == [[0, 1, 2, 3], [6, 7]]
    assert prompts_of(dataclasses.replace(batch, scored_BT=None)) == [list(range(6)), [6, 7, 8, 9]]


def test_an_answer_ends_before_a_text() -> None:
    model, _ = loaded("llama")
    row = prompts(model)[0]
    with torch.inference_mode():
        free = decoder(model, True).tokens([row])[0]
        words = model.tokenizer.decode(free).split()
        stop = Ending(NEW, frozenset(), (f" {words[3]} ",))
        stopped = Decoder(model, logits_of(model, None), stop)
        assert stopped.texts([row]) == [" ".join(words[: words.index(words[3])])]
        assert len(stopped.tokens([row])[0]) < NEW, "it stops as soon as the text stands there"


@pytest.mark.parametrize("rank", [0, 2])
def test_in_16_bits_what_is_written_is_held_against_16_bits(rank: int) -> None:
    model = task_model("gpt2", rank, HostStore(torch.bfloat16, True))
    plain = PlainLoss(model, ModelConfig(), "{text}", (), cpu_directions("auto"), TASK)
    check_decoding(model, plain, tiny_batch("gpt2", 4, 7), (1.0, -1.0))


def test_a_model_without_an_end_of_text_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = loaded("llama")
    assert ending_of(model, NEW).tokens == {2}, "of generation_config"
    monkeypatch.setattr(model.network.generation_config, "eos_token_id", None)
    with pytest.raises(ConfigError, match=r"has no end of text.*task\.max_new_tokens; .*or set task\.until"):
        ending_of(model, NEW)
    assert ending_of(model, NEW, ["\n"]).tokens == frozenset()


def test_what_is_written_is_held_against_the_plain_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """At θ and at both signs; a decoder that sees padding as text is refused."""
    model = task_model("llama")
    plain = PlainLoss(model, ModelConfig(), "{text}", (), cpu_directions("auto"), TASK)
    batch = tiny_batch("llama", 4, 7)
    check_decoding(model, plain, batch, (1.0, -1.0))
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "moved", lambda self, *_: contextlib.nullcontext())
        with pytest.raises(ModelError, match=r"of row \d at sign \+1 is not what the model itself writes"):
            check_decoding(model, plain, batch, (1.0, -1.0))
    ended = Ending(NEW, frozenset(range(40)))
    with monkeypatch.context() as patch:
        patch.setattr(model.decoder, "ending", ended)
        check_decoding(model, plain, batch)
        patch.setattr(Decoder, "tokens", lambda self, prompts, most: [[] for _ in prompts])
        patch.setattr(model.decoder, "ending", Ending(NEW, frozenset({2})))
        with pytest.raises(ModelError, match=r"the end of row 1 is not what"):
            check_decoding(model, plain, batch)
    ones = torch.ones_like
    backbone = type(model.loaded.backbone).forward

    def padding_is_text(self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: Any) -> Any:
        past = "past_key_values" in more
        return backbone(
            self, input_ids=input_ids, attention_mask=ones(attention_mask) if past else attention_mask, **more
        )

    monkeypatch.setattr(type(model.loaded.backbone), "forward", padding_is_text)
    with pytest.raises(ModelError, match=r"token \d of row \d is not what the model itself writes"):
        check_decoding(model, plain, batch)
