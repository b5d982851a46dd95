"""What the memory of activations depends on, read off a manifest: widths of a block and how its layers are made."""

from dataclasses import dataclass
from typing import Literal

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM
from zorba_ray.models import Manifest

Nonlinearity = Literal["relu", "gelu", "written-out gelu", "swiglu"]


@dataclass(frozen=True)
class Architecture:
    """Widths as multiples of the hidden width H."""

    inner: float
    """Widest layer inside a block."""
    query: float
    """All query heads."""
    value: float
    """All value heads: less than `query` where heads share them."""
    nonlinearity: Nonlinearity
    """Of the feed-forward layer: OPT's, BERT's, GPT-2's (five operators), or Llama's with gate and up projection."""
    rms: bool
    """RMS norms, written out in fp32, or fused layer norms."""
    post_norm: bool
    """Norms stand behind attention and feed-forward layer, as in BERT, or before them and once behind all blocks."""
    outer: int
    """Hidden states [B, T, H] that the outer forward keeps while blocks run, beside the one that they are given."""
    stem: int
    """Hidden states that making the first one takes, that one included."""


def architecture(manifest: Manifest, hidden: int) -> Architecture:
    """Names and shapes of block 0 and of the stem; what they do not tell is taken from the common case.

    `hidden`: H.
    """
    block = [tensor for tensor in manifest.by_block[0] if not tensor.in_scope("lora")]  # of the layers themselves
    matrices = [tensor for tensor in block if len(tensor.shape) == 2]
    names = {tensor.name for tensor in block}
    widest = max(max(tensor.shape) for tensor in matrices or block)
    layers = {tensor.name.removesuffix(".weight") for tensor in matrices}
    norms = [t.name for t in block if len(t.shape) == 1 and t.name.removesuffix(".bias") not in layers]
    if sum(tensor.shape[0] == widest for tensor in matrices) > 1:
        nonlinearity: Nonlinearity = "swiglu"
    elif any(".fc1." in name for name in names):
        nonlinearity = "relu"
    else:
        nonlinearity = "written-out gelu" if any(".c_fc." in name for name in names) else "gelu"
    post_norm = FINAL_NORM not in manifest.by_block

    def rows(*kinds: str) -> float:
        found = [t.shape[0] for t in matrices if t.name.removesuffix(".weight").endswith(kinds)]
        return (found[0] if found else hidden) / hidden

    tables = sum(len(tensor.shape) == 2 for tensor in manifest.by_block.get(EMBEDDINGS, ()))
    # OPT's and BERT's positions come as [B, T, H], GPT-2's as [1, T, H].
    return Architecture(
        inner=widest / hidden,
        query=rows("q_proj", "query"),
        value=rows("v_proj", "value"),
        nonlinearity=nonlinearity,
        rms=bool(norms) and not any(name.endswith(".bias") for name in norms),
        post_norm=post_norm,
        outer=2 if nonlinearity == "relu" and tables > 1 else 1,
        stem=1 if tables <= 1 else 2 if nonlinearity == "written-out gelu" else 3,
    )
