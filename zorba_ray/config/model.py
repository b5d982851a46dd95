"""Which model is fine-tuned, and how a label is read from it."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import PathText, StrictModel

Targets = Literal["query", "query_value", "attention", "all"]


class LoraConfig(StrictModel):
    """Adapters on the blocks' linear layers: y = W x + (α/r) B A x (Hu et al., 2021)."""

    rank: int = Field(default=8, ge=1)
    """Rank r of the adapters."""
    alpha: float = Field(default=16.0, gt=0)
    """Scale α: an adapter adds α/r · B A x."""
    targets: Targets = "attention"
    """Projections of attention (`attention`: query, key, value and output), or every linear layer of a block."""
    path: PathText | None = None
    """A folder of PEFT (adapter_config.json) to begin with; None: adapters that change nothing yet."""


class ModelConfig(StrictModel):
    """The transformer and its head."""

    path: PathText = "builtin"
    """`builtin`, a local folder in Hugging Face layout, a `.gguf` file, `package:NAME` (an installed package that has
    such a file, or `get_model_path()`), or a hub id such as facebook/opt-125m."""
    revision: str | None = None
    """Commit, tag or branch of a hub id; None is the hub's default branch. A run keeps the commit."""
    head: Literal["auto", "label_words", "label_prompts", "lm"] = "auto"
    """How a classification is read. `label_words`: likelihood of the label words after the prompt (causal LM).
    `label_prompts`: temperature × cosine between the mean-pooled text and the pooled label prompts (sentence encoder).
    `auto`: label_words for a causal LM, label_prompts for an encoder. `lm` is short for `task.kind=language_model`."""
    temperature: float = Field(default=20.0, gt=0)
    """τ of `label_prompts`."""
    lora: LoraConfig | None = None
    """Adapters that are part of the model from the start, B = 0; what is trained is `zo.scope`'s business."""
