"""Logits from a last hidden state, equal to the model's own.

Most causal LMs multiply by the output weight and add a bias. Some also scale or cap the result (Gemma 2, Granite,
Cohere). For these the model's own forward runs. Meanwhile its backbone is replaced by a function that returns the given
state, and its output layer has only the needed rows.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from zorba_ray.errors import ModelError
from zorba_ray.models.loaded import LoadedModel, sample_ids
from zorba_ray.models.swap import ForwardsSwapped, TensorsSwapped

_LARGE = 1_000.0
"""Size of the logits at which a linear map is tested: a cap changes large logits only."""


CLOSE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Difference between logits on two ways that is rounding, times the largest one, by the dtype of matrices."""
Logits = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states [N, H] -> logits of some or all tokens, fp32 [N, C]."""


class LinearLogits:
    """W h + b. With a 16-bit weight, the bias is in fp32 and added in fp32."""

    def __init__(self, weight_CH: torch.Tensor, bias_C: torch.Tensor | None) -> None:
        self._weight_CH, self._bias_C = weight_CH, bias_C

    def __call__(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        weight, bias = self._weight_CH, self._bias_C
        hidden_NH = hidden_NH.to(weight.dtype)
        if bias is None or bias.dtype == weight.dtype:
            return functional.linear(hidden_NH, weight, bias).float()
        return functional.linear(hidden_NH, weight).float() + bias


class OwnLogits:
    """Logits by the model's own forward."""

    def __init__(self, loaded: LoadedModel, weight_CH: torch.Tensor, bias_C: torch.Tensor | None) -> None:
        """`weight_CH`, `bias_C`: rows of the output layer."""
        self._loaded = loaded
        output = loaded.network.get_output_embeddings()
        self._rows = [(output, "weight", weight_CH), *([] if bias_C is None else [(output, "bias", bias_C)])]
        ids = sample_ids(loaded.network, loaded.label)[:1]
        self._answer = type(loaded.backbone(input_ids=ids, attention_mask=torch.ones_like(ids), **loaded.trace.options))

    def __call__(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        state = hidden_NH.unsqueeze(1)
        ids = torch.zeros(len(state), 1, dtype=torch.long, device=state.device)

        def hand_over(*args: Any, **kwargs: Any) -> Any:
            return (state,) if self._answer is tuple else self._answer(last_hidden_state=state)

        with ForwardsSwapped([(self._loaded.backbone, hand_over)]), TensorsSwapped(self._rows):
            answer = self._loaded.network(input_ids=ids, attention_mask=torch.ones_like(ids))
        return answer.logits[:, 0].float()


def logits_of(loaded: LoadedModel, tokens: torch.Tensor | None) -> Logits:
    """Logits of `tokens`, or of the whole vocabulary (None). The rows are copied: the head is never perturbed.

    Raises:
        ModelError: the model's logits depend on more than its last hidden state and its output layer.
    """
    output = loaded.network.get_output_embeddings()
    if output is None or getattr(output, "weight", None) is None:
        raise ModelError(
            f"model.path={loaded.label}: {type(loaded.network).__name__} has no output layer; choose another model"
        )
    weight, bias = output.weight, getattr(output, "bias", None)
    ids = sample_ids(loaded.network, loaded.label)
    mask = torch.ones_like(ids)
    expected = loaded.network(input_ids=ids, attention_mask=mask, **loaded.trace.options).logits.float().flatten(0, 1)
    if not bool(expected.isfinite().all()):
        raise ModelError(
            f"model.path={loaded.label}: its logits are not finite before training; the weights are damaged, download "
            "them again"
        )
    hidden = loaded.backbone(input_ids=ids, attention_mask=mask, **loaded.trace.options)[0].flatten(0, 1)
    close = 1e-4 if weight.dtype == torch.float32 else 0.02
    linear = LinearLogits(weight, bias)
    by_forward: OwnLogits | None = None  # stays None if the model's forward does not work on a hidden state alone
    with contextlib.suppress(Exception):  # a forward that needs more from its backbone than the last hidden state
        candidate = OwnLogits(loaded, weight, bias)
        by_forward = candidate if torch.allclose(candidate(hidden), expected, close, close) else None
    large = _LARGE / max(float(expected.abs().max()), 1e-6) * hidden
    fits = hidden.shape[1] == weight.shape[1]  # else the head has layers before its output layer (ELECTRA)
    is_linear = by_forward is None or (
        fits and all(torch.allclose(by_forward(state), linear(state), close, close) for state in (hidden, large))
    )
    if is_linear and not (fits and torch.allclose(linear(hidden), expected, close, close)):
        apart = f" (largest difference {float((linear(hidden) - expected).abs().max()):.3g})" if fits else ""
        raise ModelError(
            f"model.path={loaded.label}: its logits depend on more than its last hidden state{apart}; choose another "
            "model"
        )
    if tokens is not None:
        weight, bias = differentiable_copy(weight[tokens]), None if bias is None else differentiable_copy(bias[tokens])
    return LinearLogits(weight, bias) if is_linear else OwnLogits(loaded, weight, bias)


def differentiable_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that allows a backward pass; heads are built in inference mode, whose tensors do not."""
    with torch.inference_mode(False):
        return tensor.clone()
