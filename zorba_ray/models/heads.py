"""From the last hidden state to a loss and a prediction, in fp32.

Shapes: B rows, T tokens, H width, C labels, V vocabulary. `rows` may be 2B: the two signs of a forward pair.
"""

from abc import ABC, abstractmethod

import torch
from torch.nn import functional

from zorba_ray.config import ModelConfig, RowKind, TaskConfig
from zorba_ray.errors import ConfigError, Diverged
from zorba_ray.models.answer_tokens import read_label_tokens
from zorba_ray.models.batch import Batch
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.logits import Logits, differentiable_copy, logits_of

Losses = tuple[torch.Tensor, torch.Tensor | None]
"""(loss per counted item, whether each prediction is right or None)."""


class Head(ABC):
    """Reads losses and predictions off the last hidden states."""

    @abstractmethod
    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """fp32 [items, C or V], whose softmax the losses are of.

        Args:
            hidden: [B, T, H]; of a packed batch [1, N, H]; only those of `read` need to be right.
        """

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Row and position of the tokens whose hidden states it reads, int64 each; None: all tokens."""
        return None

    def losses(self, hidden: torch.Tensor, batch: Batch) -> Losses:
        """Losses and predictions of a batch with these last hidden states, as of `logits`."""
        return self.losses_of(self.logits(hidden, batch), batch)

    def losses_of(self, logits: torch.Tensor, batch: Batch) -> Losses:
        """`losses`, of logits that are known."""
        right = logits.argmax(dim=1) == batch.labels_B
        return functional.cross_entropy(logits, batch.labels_B, reduction="none"), right

    def row_items(self, batch: Batch) -> torch.Tensor:
        """int64 [B]: counted items of each row, which follow each other in the losses."""
        return torch.ones_like(batch.labels_B)


class LabelWordsHead(Head):
    """Causal LM: logits of the label words at the last real position, nothing else of the vocabulary."""

    def __init__(self, logits: Logits) -> None:
        """`logits`: of the label words, [N, H] -> [N, C]."""
        self._logits = logits

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        return _shifted(self._logits(_states(hidden, batch, self.read(batch))), batch)

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        last_B = last_positions(batch.mask_BT)
        return torch.arange(len(batch), device=last_B.device), last_B


class OptionsHead(Head):
    """Causal LM: the log-probability of each option, all of its tokens; −∞ where an example has fewer options."""

    def __init__(self, logits: Logits, per_token: bool) -> None:
        """`logits`: of the vocabulary, [N, H] -> [N, V]. `per_token`: the mean over an option's tokens, not the sum."""
        self._logits, self._per_token = logits, per_token

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        options = batch.options
        assert options is not None
        logits_NV = self._logits(_states(hidden, batch, self.read(batch)))
        chosen_BCL = logits_NV[options.read_BCL, options.tokens_BCL] - logits_NV.logsumexp(dim=1)[options.read_BCL]
        scores_BC = chosen_BCL.masked_fill(~options.real_BCL, 0.0).sum(dim=2)
        count_BC = options.real_BCL.sum(dim=2)
        if self._per_token:
            scores_BC = scores_BC / count_BC.clamp_min(1)
        return _shifted(scores_BC.masked_fill(count_BC == 0, -torch.inf), batch)

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        assert batch.options is not None
        places, length = batch.options.positions_N, batch.ids_BT.shape[1]
        return places // length, places % length


class LabelPromptsHead(Head):
    """Sentence encoder: temperature × cosine between the mean-pooled text and each label prompt's vector.

    The prompts' vectors are those of θ0 and stay fixed, on every replica.
    """

    def __init__(self, prompts_CH: torch.Tensor, temperature: float) -> None:
        self._prompts_CH = differentiable_copy(functional.normalize(prompts_CH.float(), dim=1))
        self._temperature = temperature

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        pooled_BH = functional.normalize(_pooled(hidden, batch), dim=1)
        return _shifted(self._temperature * functional.linear(pooled_BH, self._prompts_CH), batch)


class LanguageModelHead(Head):
    """Causal LM: next-token loss over the real tokens, or those of the answers alone; full vocabulary."""

    def __init__(self, logits: Logits) -> None:
        """`logits`: of the vocabulary, [N, H] -> [N, V]."""
        self._logits = logits

    def logits(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self._logits(_states(hidden, batch, self.read(batch)))

    def read(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        rows, positions = _counted(batch).nonzero(as_tuple=True)
        return rows, positions

    def losses_of(self, logits: torch.Tensor, batch: Batch) -> Losses:
        wanted = batch.ids_BT[:, 1:][_counted(batch)]
        return functional.cross_entropy(logits, wanted, reduction="none"), None

    def row_items(self, batch: Batch) -> torch.Tensor:
        return _counted(batch).sum(dim=1)


def chosen_texts(logits_BC: torch.Tensor, batch: Batch) -> list[str]:
    """Of a reward: the text with the highest logit of each row, of equal ones the first.

    Raises:
        Diverged: a logit is NaN.
    """
    assert batch.choices is not None
    if bool(logits_BC.isnan().any()):
        raise Diverged("a logit is NaN, so that there is no answer: lower the learning rate or zo.perturbation_scale")
    chosen: list[int] = logits_BC.argmax(dim=1).tolist()
    return [choices[number] for choices, number in zip(batch.choices, chosen, strict=True)]


def _states(hidden: torch.Tensor, batch: Batch, read: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Hidden states [R, H] of the tokens that are read, given by row and position."""
    if batch.packing is None:
        return hidden[read]
    return hidden[0, batch.packing.places(*read)]


def _pooled(hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """fp32 [B, H]: the mean of each row."""
    if batch.packing is None:
        return mean_pool(hidden, batch.mask_BT)
    return batch.packing.mean_BN @ hidden[0].float()


def _shifted(logits_BC: torch.Tensor, batch: Batch) -> torch.Tensor:
    return logits_BC if batch.shift_C is None else logits_BC + batch.shift_C


def _counted(batch: Batch) -> torch.Tensor:
    """bool [B, T − 1]: real tokens that have a real one before them; where answers are marked, those alone."""
    real = (batch.mask_BT[:, 1:] * batch.mask_BT[:, :-1]).bool()
    return real if batch.scored_BT is None else real & batch.scored_BT[:, 1:]


def last_positions(mask_BT: torch.Tensor) -> torch.Tensor:
    """[B] index of the last real token, with padding on either side."""
    return mask_BT.shape[1] - 1 - mask_BT.flip(1).argmax(dim=1)


def mean_pool(hidden: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """fp32 [B, H]: mean of the hidden states of the real tokens."""
    weights = mask_BT.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)


def model_inputs(loaded: LoadedModel, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """Arguments of the backbone. Positions are given where left padding would shift them (OPT counts its own)."""
    inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
    if loaded.causal and loaded.network.config.model_type != "opt" and bool((mask_BT[:, 0] == 0).any()):
        inputs["position_ids"] = (mask_BT.cumsum(dim=1) - 1).clamp_min(0)
    return inputs


def head_kind(config: ModelConfig, task: RowKind, loaded: LoadedModel) -> str:
    """What reads the loss of a task off the model: `label_words`, `label_prompts`, `options`, or `lm` for a next-token
    loss.

    Raises:
        ConfigError: an encoder has no next token.
    """
    if task == "classification":
        return config.head if config.head != "auto" else "label_words" if loaded.causal else "label_prompts"
    if not loaded.causal:
        raise ConfigError(
            f"task.kind={task} needs a causal LM, and model.path={loaded.label} is an encoder: take a decoder, or "
            "task.kind=classification"
        )
    return "options" if task == "multiple_choice" else "lm"


def build_head(
    config: ModelConfig, loaded: LoadedModel, prompt: str, words: tuple[str, ...], task: TaskConfig | None = None
) -> Head:
    """The head of a task, at θ0.

    Raises:
        ConfigError: label words that the head cannot use.
        ModelError: logits that are no function of the last hidden state.
    """
    task = task or TaskConfig()
    kind = head_kind(config, task.row_kind(config.head), loaded)
    if kind == "lm":
        return LanguageModelHead(logits_of(loaded, None))
    if kind == "label_words":
        tokens = read_label_tokens(loaded.tokenizer, prompt, words)
        if not tokens.whole:
            return LabelWordsHead(logits_of(loaded, torch.tensor(tokens.tokens)))
    if kind in ("label_words", "options"):
        return OptionsHead(logits_of(loaded, None), task.per_token)
    if not words:
        raise ConfigError("data.label_words is empty: head label_prompts needs one sentence per label")
    ids, mask = encoded_prompts(loaded, words)
    hidden = loaded.backbone(**model_inputs(loaded, ids, mask), **loaded.trace.options)[0]
    return LabelPromptsHead(mean_pool(hidden, mask), config.temperature)


def encoded_prompts(loaded: LoadedModel, words: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask of the label prompts, int64 [C, T], where the model is."""
    encoded = loaded.tokenizer(list(words), padding=True, return_tensors="pt")
    device = loaded.network.get_input_embeddings().weight.device
    return encoded["input_ids"].to(device), encoded["attention_mask"].to(device)
