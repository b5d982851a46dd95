"""Settings of the model, its head and its adapters."""

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
    """Linear layers with adapters: some or all projections of the attention (`attention` is query, key, value and
    output), or every linear layer of a block (`all`)."""
    path: PathText | None = None
    """A PEFT folder (adapter_config.json) with the first adapters; None: new adapters, with B = 0."""


class ModelConfig(StrictModel):
    """The transformer and its head."""

    path: PathText = "builtin"
    """`builtin`, a folder in Hugging Face format, a `.gguf` file, `package:NAME` (an installed package with such a file
    or a function `get_model_path`), or a hub id such as facebook/opt-125m."""
    revision: str | None = None
    """Commit, tag or branch of a hub id; None is the hub's default branch. A run keeps the commit."""
    head: Literal["auto", "label_words", "label_prompts", "lm"] = "auto"
    """How labels are scored. `label_words`: likelihood of the label words after the prompt (causal LM).
    `label_prompts`: temperature × cosine between the mean-pooled text and the pooled label prompts (sentence encoder).
    `auto`: label_words for a causal LM, label_prompts for an encoder. `lm` is short for `task.kind=language_model`."""
    temperature: float = Field(default=20.0, gt=0)
    """τ of `label_prompts`."""
    lora: LoraConfig | None = None
    """LoRA adapters, which are part of the model from the start. To train only them, set `zo.scope=lora`."""
