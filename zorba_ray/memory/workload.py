"""What memory depends on beside the weights: the batch, and how the blocks of a model are made."""

from dataclasses import dataclass
from typing import Any, Literal

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM
from zorba_ray.errors import ModelError
from zorba_ray.models import Manifest

_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
"""Names that architectures give to the width of a hidden state, and to the number of heads; some have no heads."""
Nonlinearity = Literal["relu", "gelu", "written-out gelu", "swiglu"]


@dataclass(frozen=True)
class Workload:
    """Sizes of a batch and of what a head computes from it."""

    batch_size: int
    """B, rows of one sign."""
    length: int
    """T."""
    hidden: int
    """H."""
    logits: int
    """C: logits per counted position (label words, label prompts, or the vocabulary)."""
    positions: int
    """Counted positions per row: 1 for a label, T for the LM loss."""
    heads: int
    """Attention heads."""


def workload_of(settings: Any, label: str, batch_size: int, length: int, labels: int | None) -> Workload:
    """The workload of a model of these transformers settings.

    Args:
        label: `model.path`, for messages.
        labels: C of a label head; None: the loss of a language model, over the vocabulary.

    Raises:
        ModelError: the settings do not say how wide a hidden state is.
    """
    text = settings.get_text_config()
    hidden = _first(text, _HIDDEN)
    if hidden is None:
        raise ModelError(
            f"model.path={label}: the settings of {type(settings).__name__} do not say how wide a hidden state is "
            f"({', '.join(_HIDDEN)}), so that memory cannot be modelled; take another model"
        )
    return Workload(
        batch_size=batch_size,
        length=length,
        hidden=hidden,
        logits=int(text.vocab_size) if labels is None else labels,
        positions=length if labels is None else 1,
        heads=_first(text, _HEADS) or 1,
    )


def _first(settings: Any, names: tuple[str, ...]) -> int | None:
    values = (getattr(settings, name, None) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


@dataclass(frozen=True)
class Architecture:
    """How a block is made. Widths are multiples of the hidden width H."""

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

    def rows(*kinds: str) -> float:
        sizes = [t.shape[0] for t in matrices if t.name.removesuffix(".weight").endswith(kinds)]
        return (sizes[0] if sizes else hidden) / hidden

    tables = sum(len(tensor.shape) == 2 for tensor in manifest.by_block.get(EMBEDDINGS, ()))
    return Architecture(
        inner=widest / hidden,
        query=rows("q_proj", "query"),
        value=rows("v_proj", "value"),
        nonlinearity=nonlinearity,
        rms=bool(norms) and not any(name.endswith(".bias") for name in norms),
        post_norm=FINAL_NORM not in manifest.by_block,
        # OPT's and BERT's positions come as [B, T, H], GPT-2's as [1, T, H]: tokens, positions and their sum.
        stem=1 if tables <= 1 else 2 if nonlinearity == "written-out gelu" else 3,
    )
