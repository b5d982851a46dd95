"""What single model types need beside the common small sizes, and why some cannot be made."""

from typing import Any

ENCODERS = frozenset(
    "bert big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta roberta-prelayernorm roc_bert"
    " roformer xlm-roberta xlm-roberta-xl xmod".split()
)
"""Mapped as causal LM too, but their checkpoints are encoders."""

NEEDED: dict[str, dict[str, Any]] = {"gemma4_assistant": {"text_config": {"model_type": "gemma4_text", "hidden_size_per_layer_input": 0}}}
"""Type -> fields without which its configuration has no default."""

_TWO_ROPES = {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")}
_MUP = {"embedding_multiplier": 1.5, "residual_multiplier": 0.7, "attention_multiplier": 0.4, "logits_scaling": 2.0}

CHANGES: dict[str, dict[str, Any]] = {
    "bamba": {"num_hidden_layers": 4, "attn_layer_indices": [1, 3]},
    "cohere": {"logit_scale": 0.7},
    "cohere2": {"logit_scale": 0.7},
    "cohere2_moe": {"logit_scale": 0.7},
    "cohere_compass_text": {"rope_parameters": _TWO_ROPES, "logit_scale": 0.7},
    "deepseek_v2": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2},
    "deepseek_v4": {"num_key_value_heads": 1, "o_groups": 2, "o_lora_rank": 8, "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4}},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "esm": {"vocab_size": 128, "mask_token_id": 32, "pad_token_id": 1},
    "funnel": {"block_sizes": [2, 2]},
    "gemma2": {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 2.0},
    "gpt_neo": {"num_layers": 4, "attention_types": [[["global", "local"], 2]]},
    "granite": _MUP,
    "granite_swa": _MUP,
    "granitemoe": _MUP,
    "granitemoe_swa": _MUP,
    "granitemoeshared": _MUP,
    "granitemoehybrid": _MUP,
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 8},
    "lfm2_moe": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba2": {"num_heads": 8},
    "mobilebert": {"intra_bottleneck_size": 16},
    "neomme": {"head_dim": 16},
    "reformer": {"is_decoder": True, "attn_layers": ["local", "lsh", "local", "lsh"], "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16], "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "hash_seed": 7, "num_buckets": 4},
    "roc_bert": {"pronunciation_vocab_size": 128, "shape_vocab_size": 128, "pronunciation_embed_dim": 16, "shape_embed_dim": 16},
    "xlstm": {"num_heads": 4, "hidden_size": 64},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX", "de_DE"]},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
"""Type -> fields of its configuration."""

UNBUILDABLE: dict[str, str] = {}
"""Type -> why there is no tiny network of it, in a sentence."""
