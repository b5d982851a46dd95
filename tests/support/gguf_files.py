"""Tiny models as `.gguf` files, written by hand from the format's description."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

TOKENS = [*sorted(bytes_to_unicode().values()), "<|end|>", "<|start|>", "Ġa", "th", "the", "Ġthe", "ĠĠ", "12"]
MERGES = ["Ġ a", "t h", "th e", "Ġ the", "Ġ Ġ", "1 2"]
_FORMS = {int: (4, "I"), float: (6, "f"), bool: (7, "?")}
_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers.": "blk.",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm", "input_layernorm": "attn_norm",
}  # fmt: skip
_MODELS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def network(kind: str = "llama", tied: bool = True) -> Any:
    """Two blocks × 64, four heads of 16 (qwen3: 128), two of keys, with the vocabulary of `TOKENS`; drawn at random."""
    torch.manual_seed(5)
    config, model = _MODELS[kind]
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "vocab_size": len(TOKENS),
    }
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": _width(kind)}
    drawn = model(config(**sizes, **heads, max_position_embeddings=64, tie_word_embeddings=tied))
    for parameter in drawn.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape) + (parameter.ndim == 1)
    return drawn.eval()


def settings(kind: str = "llama", **changes: Any) -> dict[str, Any]:
    """What a file of `network` says of it; `changes` by name with `__` for a point, None takes a name away."""
    own = {
        "context_length": 64, "block_count": 2, "embedding_length": 64, "feed_forward_length": 96,
        "rope.freq_base": 10000.0, "rope.dimension_count": _width(kind), "attention.head_count": 4,
        "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-6, "vocab_size": len(TOKENS),
    }  # fmt: skip
    tokenizer = {
        "model": "gpt2", "pre": "qwen2", "tokens": TOKENS, "merges": MERGES, "token_type": [1] * len(TOKENS),
        "eos_token_id": 256, "bos_token_id": 257, "padding_token_id": 256, "add_bos_token": False,
    }  # fmt: skip
    tokenizer["token_type"] = [3 if token.startswith("<|") else 1 for token in TOKENS]
    tree: dict[str, Any] = {"general.architecture": kind, "general.name": "tiny"}
    tree |= {f"{kind}.{name}": value for name, value in own.items()}
    tree |= {f"tokenizer.ggml.{name}": value for name, value in tokenizer.items()}
    tree |= {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in tree.items() if value is not None}


def tensors(model: Any, eight_bits: bool = False) -> dict[str, tuple[list[int], int, bytes]]:
    """Name -> (shape, kind, bytes) of a network's weights; matrices in 8 bits (Q8_0), if asked for."""
    packed = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if model.config.model_type == "llama" and ("q_proj" in name or "k_proj" in name):  # llama.cpp pairs neighbours
            tensor = tensor.view(-1, 2, 8, 64).transpose(1, 2).reshape(tensor.shape)
        for ours, theirs in _NAMES.items():
            name = name.replace(ours, theirs)
        array = tensor.numpy()
        kind = 8 if eight_bits and array.ndim == 2 else 0
        packed[name] = (list(array.shape), kind, _q8(array) if kind else array.astype("<f4").tobytes())
    return packed


def write(path: Path, tree: Mapping[str, Any], parts: Mapping[str, tuple[list[int], int, bytes]]) -> Path:
    """A file of these settings and tensors."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(parts), len(tree))
    head += b"".join(_text(name) + _value(value) for name, value in tree.items())
    data = b""
    for name, (shape, kind, held) in parts.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data))
        data += held + b"\0" * (-len(held) % 32)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def gguf_file(path: Path, kind: str = "llama", tied: bool = True, **changes: Any) -> Path:
    """The file of `network`."""
    return write(path, settings(kind, **changes), tensors(network(kind, tied)))


def _width(kind: str) -> int:
    return 128 if kind == "qwen3" else 16  # Qwen3's files say it, and transformers takes it for granted


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        inner = _value(value[0])[:4]
        return struct.pack("<I", 9) + inner + struct.pack("<Q", len(value)) + b"".join(_value(v)[4:] for v in value)
    number, form = _FORMS[type(value)]
    return struct.pack("<I" + form, number, value)


def _q8(array: np.ndarray) -> bytes:
    """Blocks of 32: a scale in fp16 and whole numbers of 8 bits."""
    blocks = array.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2")
    whole = np.rint(blocks / scales.astype("<f4")).clip(-127, 127).astype("i1")
    return b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, whole, strict=True))
