"""Greedy decoding: what a causal LM writes behind prompts, each token the likeliest after those before it.

Prompts of a batch are padded on the left, so that all end at the same place, and the keys and values of what was read
are kept. Where a model's cache does not give its own logits (`models.cache_check`), the whole text is read anew for
each token instead, padded on the right as in training.

Rows that are done stay in the batch until all are: the number of rows can change how a matrix product rounds, and a
client's answer must depend on its batch alone.

Shapes: B rows, T tokens.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from zorba_ray.errors import ConfigError
from zorba_ray.models.batch import Batch
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.logits import Logits

Choose = Callable[[torch.Tensor], torch.Tensor]
"""Logits of the next token, fp32 [B, V] -> the tokens that follow, int64 [B]."""


@dataclass(frozen=True)
class Ending:
    """When an answer is over: at a token, at a text, or at a length."""

    max_new_tokens: int
    tokens: frozenset[int]
    """End of text, end of turn. They are no part of the answer."""
    texts: tuple[str, ...] = ()
    """The answer ends before the first of them."""


def ending_of(loaded: LoadedModel, max_new_tokens: int, texts: Sequence[str] = (), chat: bool = False) -> Ending:
    """How answers of a model end: at its tokenizer's end of text and at what its generation_config.json names.

    Args:
        chat: also at the chat template's end of a turn.

    Raises:
        ConfigError: the model has no such token, and no text is given either.
    """
    stated = getattr(getattr(loaded.network, "generation_config", None), "eos_token_id", None)
    ends = {*(stated if isinstance(stated, (list, tuple)) else [stated]), loaded.tokenizer.eos_token_id}
    if chat:
        ends.add(_end_of_turn(loaded.tokenizer))
    tokens = frozenset(int(token) for token in ends if token is not None)
    if not tokens and not texts:
        raise ConfigError(
            f"model.path={loaded.label}: its tokenizer has no end of text (eos_token), so that no answer would end "
            'before task.max_new_tokens; name one in tokenizer_config.json, or set task.until, as in task.until=["\\n"]'
        )
    return Ending(max_new_tokens, tokens, tuple(texts))


def _end_of_turn(tokenizer: Any) -> int | None:
    """The special token that the chat template puts behind a turn of the assistant; None: it has none."""
    said = "answer"
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": said}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except MemoryError:
        raise
    except Exception:  # what a template's own code raises
        return None
    behind = tokenizer(text.rpartition(said)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return behind[0] if behind and behind[0] in tokenizer.all_special_ids else None


def prompts_of(batch: Batch) -> list[list[int]]:
    """The real tokens of each row up to where its last marked answer begins; all of them in a row without marks."""
    prompts = []
    for row in range(len(batch)):
        real = batch.mask_BT[row].bool()
        ids = batch.ids_BT[row][real].tolist()
        marks = [] if batch.scored_BT is None else batch.scored_BT[row][real].tolist()
        end = len(ids)
        if True in marks:
            end -= marks[::-1].index(True)
            while end > 0 and marks[end - 1]:
                end -= 1
        prompts.append(ids[:end])
    return prompts


class Decoder:
    """Writes answers at the θ that the network computes with at the time."""

    def __init__(self, loaded: LoadedModel, logits: Logits, ending: Ending, cached: bool = True) -> None:
        """
        Args:
            logits: of the vocabulary, [N, H] -> [N, V].
            cached: whether keys and values are kept.
        """
        self.cached, self.ending = cached, ending
        self._loaded, self._logits, self._tokenizer = loaded, logits, loaded.tokenizer
        self._pad = int(loaded.tokenizer.pad_token_id)

    def texts(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The answer to each prompt, without the space around it."""
        return [self._text(answer).strip() for answer in self.tokens(prompts)]

    def tokens(self, prompts: Sequence[Sequence[int]], most: int | None = None) -> list[list[int]]:
        """The answer to each prompt, without what ends it: at most `max_new_tokens` tokens, and `most`."""
        limit = min(self.ending.max_new_tokens, most or self.ending.max_new_tokens)
        answers: list[list[int]] = [[] for _ in prompts]
        over = [False] * len(prompts)

        def choose(logits: torch.Tensor) -> torch.Tensor:
            chosen = logits.argmax(dim=-1).tolist()
            for row, token in enumerate(chosen):
                if over[row]:
                    chosen[row] = self._pad
                elif token in self.ending.tokens:
                    over[row] = True
                else:
                    answers[row].append(token)
                    over[row] = len(answers[row]) == limit or self._has_ended(answers[row])
            return torch.tensor(chosen, device=logits.device)

        self.follow(prompts, choose, lambda: all(over))
        return answers

    def follow(self, prompts: Sequence[Sequence[int]], choose: Choose, done: Callable[[], bool]) -> None:
        """Reads prompts and what `choose` puts behind them, token by token, until `done`."""
        (self._read_cached if self.cached else self._read_anew)(prompts, choose, done)

    def _has_ended(self, answer: Sequence[int]) -> bool:
        return bool(self.ending.texts) and self._text(answer) != self._decoded(answer)

    def _text(self, answer: Sequence[int]) -> str:
        """Up to where the first of the ending's texts begins."""
        text = self._decoded(answer)
        starts = [start for stop in self.ending.texts if (start := text.find(stop)) >= 0]
        return text[: min(starts)] if starts else text

    def _decoded(self, answer: Sequence[int]) -> str:
        return self._tokenizer.decode(answer, skip_special_tokens=True)

    def _read_cached(self, prompts: Sequence[Sequence[int]], choose: Choose, done: Callable[[], bool]) -> None:
        network, device = self._loaded.network, self._device
        cache = DynamicCache(config=network.config.get_text_config(decoder=True))
        width = max(map(len, prompts))
        ids = torch.tensor([[self._pad] * (width - len(row)) + list(row) for row in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
        while True:
            more = {"past_key_values": cache, "use_cache": True}
            if takes_positions(self._loaded):
                more["position_ids"] = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, -ids.shape[1] :]
            hidden = self._loaded.backbone(input_ids=ids, attention_mask=mask, **more)[0]
            ids = choose(self._logits(hidden[:, -1]))[:, None]
            if done():
                return
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)

    def _read_anew(self, prompts: Sequence[Sequence[int]], choose: Choose, done: Callable[[], bool]) -> None:
        texts = [list(row) for row in prompts]
        while True:
            width = max(map(len, texts))
            ids = torch.tensor([row + [self._pad] * (width - len(row)) for row in texts], device=self._device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in texts], device=self._device)
            hidden = self._loaded.backbone(input_ids=ids, attention_mask=mask, **self._loaded.trace.options)[0]
            chosen = choose(self._logits(hidden[torch.arange(len(texts)), mask.sum(dim=1) - 1]))
            if done():
                return
            for row, token in zip(texts, chosen.tolist(), strict=True):
                row.append(token)

    @property
    def _device(self) -> torch.device:
        return self._loaded.network.get_input_embeddings().weight.device


def takes_positions(loaded: LoadedModel) -> bool:
    """Whether a backbone is told the position of each token; OPT counts them itself, from an offset."""
    accepted = inspect.signature(loaded.backbone.forward).parameters
    return "position_ids" in accepted and loaded.network.config.model_type != "opt"
