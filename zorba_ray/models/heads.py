"""From the last hidden state to a loss and a prediction, in fp32.

Shapes: B rows, T tokens, H width, C labels, V vocabulary. `rows` may be 2B: the two signs of a forward pair.
"""

import string
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from zorba_ray.config import ModelConfig
from zorba_ray.errors import ConfigError, ModelError
from zorba_ray.models.load import LoadedModel


@dataclass(frozen=True)
class Batch:
    """Tokens [B, T] with their mask (1 = real) and labels [B] (unused by the LM head)."""

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    labels_B: torch.Tensor
    shift_C: torch.Tensor | None = None
    """fp32 [C], added to the logits of the labels; None: nothing."""

    def __len__(self) -> int:
        return self.ids_BT.shape[0]

    def to(self, device: str) -> "Batch":
        """The same batch on `device`."""
        shift_C = None if self.shift_C is None else self.shift_C.to(device)
        return Batch(self.ids_BT.to(device), self.mask_BT.to(device), self.labels_B.to(device), shift_C)


class Head(Protocol):
    """Reads losses and predictions off the last hidden states."""

    def losses(self, hidden: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """(loss per counted item, whether each prediction is right or None, number of items)."""
        ...

    def judge(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """`losses`, of logits that are known."""
        ...

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """fp32 [items, C or V], whose softmax the losses are of."""
        ...


class LabelWordsHead:
    """Causal LM: logits of the label words at the last real position, nothing else of the vocabulary."""

    def __init__(self, weight_CH: torch.Tensor, bias_C: torch.Tensor | None) -> None:
        self._weight_CH = weight_CH
        self._bias_C = bias_C

    def losses(self, hidden: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        return self.judge(self.logits(hidden, batch), batch)

    def judge(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        return _of_labels(logits, batch)

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        last_BH = hidden[torch.arange(len(batch)), last_positions(batch.mask_BT)]
        return _shifted(_logits(last_BH, self._weight_CH, self._bias_C), batch)


class LabelPromptsHead:
    """Sentence encoder: temperature × cosine between the mean-pooled text and each label prompt's vector.

    The prompts' vectors are those of θ0 and stay fixed, on every replica.
    """

    def __init__(self, prompts_CH: torch.Tensor, temperature: float) -> None:
        self._prompts_CH = _own(functional.normalize(prompts_CH.float(), dim=1))
        self._temperature = temperature

    def losses(self, hidden: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        return self.judge(self.logits(hidden, batch), batch)

    def judge(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        return _of_labels(logits, batch)

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        pooled_BH = functional.normalize(mean_pool(hidden, batch.mask_BT), dim=1)
        return _shifted(self._temperature * functional.linear(pooled_BH, self._prompts_CH), batch)


class LanguageModelHead:
    """Causal LM: next-token loss over the real tokens, full vocabulary."""

    def __init__(self, weight_VH: torch.Tensor, bias_V: torch.Tensor | None) -> None:
        self._weight_VH = weight_VH
        self._bias_V = bias_V

    def losses(self, hidden: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        return self.judge(self.logits(hidden, batch), batch)

    def judge(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        found = functional.cross_entropy(logits, batch.ids_BT[:, 1:][_counted(batch)], reduction="none")
        return found, None, len(logits)

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        return _logits(hidden[:, :-1][_counted(batch)], self._weight_VH, self._bias_V)


def _of_labels(logits_BC: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None, int]:
    right = logits_BC.argmax(dim=1) == batch.labels_B
    return functional.cross_entropy(logits_BC, batch.labels_B, reduction="none"), right, len(batch)


def _shifted(logits_BC: torch.Tensor, batch: Batch) -> torch.Tensor:
    return logits_BC if batch.shift_C is None else logits_BC + batch.shift_C


def _counted(batch: Batch) -> torch.Tensor:
    """bool [B, T − 1]: real tokens that have a real one before them."""
    return (batch.mask_BT[:, 1:] * batch.mask_BT[:, :-1]).bool()


def last_positions(mask_BT: torch.Tensor) -> torch.Tensor:
    """[B] index of the last real token, with padding on either side."""
    return mask_BT.shape[1] - 1 - mask_BT.flip(1).argmax(dim=1)


def mean_pool(hidden: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """fp32 [B, H]: mean of the hidden states of the real tokens."""
    weights = mask_BT.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that a backward pass may go through, though heads are built in inference mode."""
    with torch.inference_mode(False):
        return tensor.clone()


def _logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """fp32 logits; beside a 16-bit weight the bias is fp32, and added in fp32."""
    if bias is None or bias.dtype == weight.dtype:
        return functional.linear(hidden, weight, bias).float()
    return functional.linear(hidden, weight).float() + bias


def model_inputs(loaded: LoadedModel, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """Arguments of the backbone. Positions are given where left padding would shift them (OPT counts its own)."""
    inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
    if loaded.causal and loaded.network.config.model_type != "opt" and bool((mask_BT[:, 0] == 0).any()):
        inputs["position_ids"] = (mask_BT.cumsum(dim=1) - 1).clamp_min(0)
    return inputs


def label_tokens(tokenizer: Any, prompt: str, words: tuple[str, ...]) -> list[int]:
    """First token of each label word as the tokenizer writes it after the prompt.

    Raises:
        ConfigError: no words, a word without tokens of its own, or two words with the same first token.
    """
    if not words:
        raise ConfigError(
            "data.label_words is empty: head label_words needs one word per label, as in [terrible, great]"
        )
    fields = {name: "a" for _, name, _, _ in string.Formatter().parse(prompt) if name}
    before = prompt.format(**fields)
    spacer = "" if before.endswith((" ", "\n")) else " "
    lead = tokenizer(before.rstrip(" "))["input_ids"]
    if lead and lead[-1] == tokenizer.eos_token_id and lead[-1] != tokenizer.bos_token_id:
        lead = lead[:-1]  # a tokenizer that ends every text
    tokens = []
    for word in words:
        ids = tokenizer(before + spacer + word)["input_ids"]
        if ids[: len(lead)] != lead or len(ids) == len(lead) or ids[len(lead)] == tokenizer.unk_token_id:
            raise ConfigError(f"data.label_words: {word!r} has no token of its own after the prompt {prompt!r}")
        tokens.append(ids[len(lead)])
    if len(set(tokens)) != len(tokens):
        raise ConfigError(
            f"data.label_words {list(words)}: first tokens {tokens} coincide; choose words that "
            "differ in the first token"
        )
    return tokens


def _require_plain_logits(loaded: LoadedModel, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Whether the model's logits are a linear map of the last hidden state, as the heads compute them.

    Raises:
        ModelError: they are scaled or capped (Gemma 2, Granite, Cohere).
    """
    ids = torch.arange(3, device=weight.device).unsqueeze(0)
    own = loaded.network(input_ids=ids).logits
    ours = _logits(loaded.backbone(input_ids=ids)[0], weight, bias)
    close = 1e-4 if weight.dtype == torch.float32 else 0.02
    if not torch.allclose(own.float(), ours, rtol=close, atol=close):
        raise ModelError(
            f"model.path={loaded.label}: its logits are scaled or capped (largest difference "
            f"{float((own - ours).abs().max()):.3g}); only models with plain logits are supported"
        )


def build_head(config: ModelConfig, loaded: LoadedModel, prompt: str, words: tuple[str, ...]) -> Head:
    """The head that `model.head` asks for, at θ0.

    Raises:
        ConfigError: label words that the head cannot use.
        ModelError: logits that are no linear map of the last hidden state.
    """
    kind = config.head if config.head != "auto" else ("label_words" if loaded.causal else "label_prompts")
    if kind == "label_prompts":
        if not words:
            raise ConfigError("data.label_words is empty: head label_prompts needs one sentence per label")
        device = next(loaded.network.parameters()).device
        encoded = loaded.tokenizer(list(words), padding=True, return_tensors="pt").to(device)
        inputs = model_inputs(loaded, encoded["input_ids"], encoded["attention_mask"])
        prompts_CH = mean_pool(loaded.backbone(**inputs)[0], encoded["attention_mask"])
        return LabelPromptsHead(prompts_CH, config.temperature)
    output = loaded.network.get_output_embeddings()
    weight, bias = output.weight, getattr(output, "bias", None)
    _require_plain_logits(loaded, weight, bias)
    if kind == "lm":
        return LanguageModelHead(weight, bias)
    tokens = torch.tensor(label_tokens(loaded.tokenizer, prompt, words))
    # The head is part of the stem and never perturbed: its rows are copied once.
    return LabelWordsHead(_own(weight[tokens]), None if bias is None else _own(bias[tokens]))
