"""The loss of a batch without padding, from the last hidden states: the heads of `models.heads`, with no tokenizer."""

from collections.abc import Callable

import torch
from torch.nn import functional

from zorba_ray.memory.workload import Workload
from zorba_ray.models import Batch, LoadedModel
from zorba_ray.models.heads import LabelPromptsHead, LabelWordsHead
from zorba_ray.models.logits import LinearLogits

Loss = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states [B, T, H] -> mean loss."""


def head_loss(loaded: LoadedModel, work: Workload, batch: Batch) -> Loss:
    """Label words or label prompts, or with `work.positions` > 1 the next-token loss over all of T − 1 positions.

    That one is written out here, because `LanguageModelHead` picks the real tokens by value, which a tensor without
    memory does not have; on a batch without padding it holds the same bytes.
    """
    if not loaded.causal:
        device = batch.ids_BT.device
        head = LabelPromptsHead(torch.empty(work.logits, work.hidden, device=device), 1.0)
        return lambda hidden: head.losses(hidden, batch)[0].mean()
    output = loaded.network.get_output_embeddings()
    bias = getattr(output, "bias", None)
    if work.positions == 1:
        words = slice(0, work.logits)
        rows = output.weight.detach()[words].clone(), None if bias is None else bias[words].clone()
        label = LabelWordsHead(LinearLogits(*rows))
        return lambda hidden: label.losses(hidden, batch)[0].mean()

    def next_token(hidden: torch.Tensor) -> torch.Tensor:
        logits = functional.linear(hidden[:, :-1].flatten(0, 1), output.weight, bias).float()
        return functional.cross_entropy(logits, batch.ids_BT[:, 1:].flatten(), reduction="none").mean()

    return next_token
