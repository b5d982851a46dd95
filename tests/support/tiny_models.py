"""Random networks of a few thousand parameters in six architectures, made from config classes: no hub, no files.

Every weight is drawn from a seeded generator, biases and norms too (their usual zeros and ones would hide mistakes),
and large enough that losses differ between classes. Building one twice gives the same network.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch import nn

from zorba_ray.config import ModelConfig
from zorba_ray.directions import DirectionBackend, direction_backend
from zorba_ray.models import Batch, HostStore, LoadedModel, Scope, TaskModel, loaded_model

torch.set_num_threads(1)

VOCABULARY = 40
HIDDEN = 32
BLOCKS = 5
POSITIONS = 32
LABEL_WORDS = ("alpha", "beta", "gamma")
LABEL_TOKENS = (10, 11, 12)

DECODERS = ("opt", "gpt2", "llama", "qwen2")
ENCODERS = ("bert", "roberta")
KINDS = (*DECODERS, *ENCODERS)


class TinyTokenizer:
    """Words to ids by a fixed table; everything else is unknown. Pads on the right."""

    unk_token_id: int | None = 3
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id
        words = (*LABEL_WORDS, "delta", "good", "bad")
        self._table = {word: 10 + place for place, word in enumerate(words)}

    def __call__(
        self, text: Any, add_special_tokens: bool = True, padding: bool = False, return_tensors: str | None = None
    ) -> Any:
        if isinstance(text, str):
            return {"input_ids": self._encode(text)}
        rows = [self._encode(one) for one in text]
        if not padding:
            return {"input_ids": rows}
        width = max(map(len, rows))
        ids = [row + [self.pad_token_id] * (width - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        return transformers.BatchEncoding({"input_ids": ids, "attention_mask": mask}, tensor_type=return_tensors)

    def decode(self, tokens: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Each token's number, or its word."""
        words = {token: word for word, token in self._table.items()}
        return " ".join(words.get(token, str(token)) for token in tokens)

    def _encode(self, text: str) -> list[int]:
        return [self._table.get(word, 3) for word in text.split()]


def _common(**more: Any) -> dict[str, Any]:
    """Sizes in the names that Llama-like configs and BERT share."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_attention_heads": 4, "intermediate_size": 48}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": POSITIONS}
    return {**sizes, **special, **more}


_MAKERS: dict[str, Callable[[int], nn.Module]] = {
    "opt": lambda blocks: transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, ffn_dim=48, num_hidden_layers=blocks, num_attention_heads=4,
            max_position_embeddings=POSITIONS, word_embed_proj_dim=HIDDEN,
            pad_token_id=1, bos_token_id=2, eos_token_id=2,
        )
    ),
    "gpt2": lambda blocks: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=blocks, n_head=4, n_positions=POSITIONS,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    ),
    "llama": lambda blocks: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**_common(num_hidden_layers=blocks, num_key_value_heads=2))
    ),
    "qwen2": lambda blocks: transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(**_common(num_hidden_layers=blocks, num_key_value_heads=2, tie_word_embeddings=True))
    ),
    "bert": lambda blocks: transformers.BertModel(transformers.BertConfig(**_common(num_hidden_layers=blocks))),
    "roberta": lambda blocks: transformers.RobertaModel(
        transformers.RobertaConfig(**_common(num_hidden_layers=blocks, type_vocab_size=1))
    ),
}  # fmt: skip


def tiny_network(kind: str, seed: int = 0, blocks: int = BLOCKS) -> Any:
    """The network in eval mode, plain: nothing wrapped, nothing moved."""
    network = _MAKERS[kind](blocks).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        norm = parameter.ndim == 1 and name.endswith("weight")
        parameter.copy_(1.0 + 0.1 * noise if norm else 0.15 * noise)
    return network


def tiny_loaded(kind: str, seed: int = 0, blocks: int = BLOCKS) -> LoadedModel:
    """As `load_model` would return it."""
    network = tiny_network(kind, seed, blocks)
    causal = kind in DECODERS
    return loaded_model(network, TinyTokenizer(int(network.config.pad_token_id)), causal, kind)


def tiny_task_model(
    kind: str,
    scope: Scope = "all",
    seed: int = 0,
    head: Any = "auto",
    directions: DirectionBackend | None = None,
    blocks: int = BLOCKS,
    rank: int = 0,
    store: HostStore | None = None,
) -> TaskModel:
    """A `TaskModel` with label words or label prompts over three classes, or the LM head."""
    directions = directions or direction_backend("numpy")
    loaded = tiny_loaded(kind, seed, blocks)
    config = ModelConfig.model_validate({"head": head, "temperature": 5.0})
    return TaskModel(loaded, config, "{text}", LABEL_WORDS, scope, directions, rank=rank, store=store)


def tiny_batch(kind: str, rows: int, length: int, side: str = "right", seed: int = 0) -> Batch:
    """Random tokens; with rows > 1 row i is padded by i mod 4 tokens on `side` ("none": no padding)."""
    generator = torch.Generator().manual_seed(seed)
    pad = 1 if kind == "opt" else 0
    ids = torch.randint(4, VOCABULARY, (rows, length), generator=generator)
    mask = torch.ones(rows, length, dtype=torch.long)
    for row in range(rows):
        padded = 0 if side == "none" else min(row % 4, length - 2)
        if padded:
            mask[row, slice(0, padded) if side == "left" else slice(length - padded, length)] = 0
    ids[mask == 0] = pad
    return Batch(ids, mask, torch.randint(0, len(LABEL_WORDS), (rows,), generator=generator))
