"""What runs on the accelerator beside the weights."""

from dataclasses import dataclass
from typing import Any

from zorba_ray.errors import ModelError

_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
"""Names that architectures give to the width of a hidden state, and to the number of heads; some have no heads."""


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
    found = (getattr(settings, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), None)
