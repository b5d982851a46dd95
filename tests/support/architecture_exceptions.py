"""What single model types need beside the common small sizes, and why some cannot be made."""

from typing import Any

ENCODERS = frozenset({
    "bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
"""Mapped as causal LM too, but their checkpoints are encoders."""

_TWO_ROPES = {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")}

_SHARED_KEYS = {
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "hidden_size_per_layer_input": 8,
}
_GLOBAL = {"global_head_dim": 16, "final_logit_softcapping": 2.0}
_GEMMA4 = {**_SHARED_KEYS, **_GLOBAL}
_DOTS3 = {
    "num_key_value_heads": 4,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 4,
    "swa_q_lora_rank": 16,
    "swa_kv_lora_rank": 16,
    "swa_head_dim": 12,
    "swa_qk_nope_head_dim": 8,
    "swa_v_head_dim": 8,
    "head_dim": 12,
}
_QWEN4 = {
    "hc_count": 2,
    "hc_lowrank": 8,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 4,
    "indexer_compress_ratio": 2,
}

CHANGES: dict[str, dict[str, Any]] = {
    "bamba": {"num_hidden_layers": 4, "attn_layer_indices": [1, 3]},
    "blt": {
        "encoder_hash_byte_group_vocab": 50,
        "encoder_config": {"hidden_size_global": 32},
        "decoder_config": {"hidden_size_global": 32},
        "global_config": {"hidden_size": 32},
    },
    "cohere_compass_text": {"rope_parameters": _TWO_ROPES, "logit_scale": 0.7},
    "dbrx": {
        "attn_config": {"rope_theta": 10000.0, "kv_n_heads": 2, "clip_qkv": 8.0},
        "ffn_config": {"moe_top_k": 2},
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "deepseek_v2": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2},
    "deepseek_v4": {
        "num_key_value_heads": 1,
        "o_groups": 2,
        "o_lora_rank": 8,
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
    },
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {
        "text_config": _DOTS3,
        "vision_config": {"adapter_in_dim": 32, "adapter_out_dim": 32, "num_hidden_layers": 2},
        "audio_config": {"adapter_input_size": 32, "adapter_out_dim": 32, "downsample_hidden_size": 8},
    },
    "dots3_note_text": _DOTS3,
    "esm": {
        "position_embedding_type": "rotary",
        "token_dropout": True,
        "vocab_size": 128,
        "mask_token_id": 32,
        "pad_token_id": 1,
    },
    "esmc": {"num_key_value_heads": 4},
    "funnel": {"block_sizes": [2, 2], "architectures": ["FunnelModel"]},
    "gemma3n_text": {**_SHARED_KEYS, "altup_num_inputs": 2, "laurel_rank": 8},
    "gemma4": {"text_config": _GEMMA4},
    "gemma4_text": _GEMMA4,
    "gemma4_unified": {"text_config": _GLOBAL},
    "gemma4_unified_text": _GLOBAL,
    "got_ocr2": {"vision_config": {"image_size": 32, "output_channels": 8, "mlp_dim": 32, "global_attn_indexes": [1]}},
    "gpt_neo": {"num_layers": 4, "attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"num_hidden_layers": 4, "layer_types": ["mamba", "attention"] * 2},
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"linear_head_dim": 8, "linear_num_heads": 4},
    "lfm2": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 8},
    "lfm2_moe": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"zero_expert_num": 2, "head_dim": 4},
    "longformer": {"attention_window": 4},
    "mamba2": {"num_heads": 8},
    "minicpm3": {"dim_model_base": 16},
    "mobilebert": {"intra_bottleneck_size": 16},
    "neomme": {"head_dim": 16},
    "phi4_multimodal": {
        "audio_config": {
            "num_blocks": 1,
            "nemo_conv_channels": 8,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
        },
        "vision_config": {"num_hidden_layers": 2, "image_size": 28, "crop_size": 28},
    },
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh", "local", "lsh"],
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16],
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 4,
        "hash_seed": 7,
        "num_buckets": 4,
    },
    "roc_bert": {
        "pronunciation_vocab_size": 128,
        "shape_vocab_size": 128,
        "pronunciation_embed_dim": 16,
        "shape_embed_dim": 16,
    },
    "squeezebert": {"embedding_size": 32},
    "xlstm": {"num_heads": 4, "hidden_size": 64, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX", "de_DE"]},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
"""Type -> fields of its configuration."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name} as decoder": (name, {"is_decoder": True}) for name in sorted(ENCODERS)},
    "deepseek_v3 without query rank": ("deepseek_v3", {"q_lora_rank": None}),
    "falcon with alibi": ("falcon", {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True}),
    "falcon with grouped keys": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gemma4 with experts": (
        "gemma4_text",
        {
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 24,
            "num_kv_shared_layers": 0,
            "hidden_size_per_layer_input": 0,
        },
    ),
    "gemma4 with own keys": ("gemma4_text", {"num_kv_shared_layers": 0, "attention_k_eq_v": True}),
    "gpt2 with upcast attention": ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}),
    "gpt_bigcode with all heads": ("gpt_bigcode", {"multi_query": False}),
    "gpt_neox in sequence": ("gpt_neox", {"use_parallel_residual": False}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "opt with norms after": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "qwen2 with windows": (
        "qwen2",
        {"use_sliding_window": True, "layer_types": ["full_attention", *["sliding_attention"] * 2]},
    ),
    "rwkv without rescaling": ("rwkv", {"rescale_every": 0}),
    "stablelm in parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
}
"""Name -> a type and fields that change how its blocks compute, as known checkpoints set them."""

SPREADS: dict[str, float] = {"mobilebert": 0.1}
"""Type -> standard deviation of its weights, where the usual 0.15 makes activations in the thousands."""

_DRAFT = "a draft model: it continues the hidden states and keys of another model and takes no text alone"
_AUDIO = "AutoModelForCausalLM hands the decoder's class the configuration of the whole, which it cannot read"

UNBUILDABLE: dict[str, str] = {
    "gemma3n": "its vision tower needs the package timm; gemma3n_text is its text part",
    "gemma4_assistant": _DRAFT,
    "gemma4_unified_assistant": _DRAFT,
    "mra": "its attention is a CUDA kernel; without it transformers computes with zeros in its place",
    "musicgen": _AUDIO,
    "musicgen_melody": _AUDIO,
    "perceiver": "it takes `inputs` instead of `input_ids` and returns latents that belong to no token",
}
"""Type -> why there is no tiny network of it, in a sentence."""

MECHANISMS = {
    "llama": "rotary positions, grouped keys",
    "gpt2": "transposed linear layers, learnt positions",
    "opt": "positions counted from the mask",
    "bloom": "ALiBi",
    "falcon": "a linear layer of its own class",
    "xglm": "buffers in fp32",
    "gemma2": "capped logits, windows",
    "cohere": "scaled logits",
    "mixtral": "stacked experts",
    "deepseek_v3": "latent attention, shared experts",
    "gpt_oss": "experts with biases, sinks",
    "lfm2": "convolutions whose weight is read by their parent",
    "mamba2": "states, vectors read beside matrices",
    "jamba": "blocks of several kinds",
    "rwkv": "weights that the model changes as it runs",
    "gemma4_text": "keys that blocks share",
    "gemma3n_text": "several streams",
    "funnel": "several lists of blocks",
    "prophetnet": "logits of more than the hidden state",
    "zamba": "blocks that share parameters",
    "bert": "an encoder",
    "albert": "one block in every depth",
    "electra": "layers before the output layer",
    "deberta-v2": "relative positions, shared keys",
    "longformer": "windows that pad the batch",
    "squeezebert": "another axis order",
    "bert as decoder": "an encoder's class as a decoder",
}
"""Type or variant -> what about it could be wrong."""
