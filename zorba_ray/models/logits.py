"""From a last hidden state to logits, as the model itself makes them.

Most causal LMs multiply by the output weight and add a bias. Some scale or cap the result (Gemma 2, Granite, Cohere).
Those are asked themselves: their own forward runs, with a backbone that hands over the given state, and an output layer
that has the wanted rows alone.
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
"""Logits at which a linear map is told from another: a cap shows on large ones only."""


CLOSE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Difference between logits on two ways that is rounding, times the largest one, by the dtype of matrices."""
Logits = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states [N, H] -> logits of some or all tokens, fp32 [N, C]."""


class LinearLogits:
    """W h + b; beside a 16-bit weight the bias is fp32, and added in fp32."""

    def __init__(self, weight_CH: torch.Tensor, bias_C: torch.Tensor | None) -> None:
        self._weight_CH, self._bias_C = weight_CH, bias_C

    def __call__(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        weight, bias = self._weight_CH, self._bias_C
        hidden_NH = hidden_NH.to(weight.dtype)
        if bias is None or bias.dtype == weight.dtype:
            return functional.linear(hidden_NH, weight, bias).float()
        return functional.linear(hidden_NH, weight).float() + bias


class OwnLogits:
    """What the model's forward makes of a last hidden state, whatever that is."""

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
    """Logits of `tokens`, or of the whole vocabulary (None). A copy of the rows, as the stem is never perturbed.

    Raises:
        ModelError: the model's logits are no function of its last hidden state and its output layer.
    """
    output = loaded.network.get_output_embeddings()
    if output is None or getattr(output, "weight", None) is None:
        raise ModelError(f"model.path={loaded.label}: {type(loaded.network).__name__} has no output layer to read")
    weight, bias = output.weight, getattr(output, "bias", None)
    ids = sample_ids(loaded.network, loaded.label)
    mask = torch.ones_like(ids)
    wanted = loaded.network(input_ids=ids, attention_mask=mask, **loaded.trace.options).logits.float().flatten(0, 1)
    if not bool(wanted.isfinite().all()):
        raise ModelError(
            f"model.path={loaded.label}: its logits are not finite before any step; the weights are damaged"
        )
    hidden = loaded.backbone(input_ids=ids, attention_mask=mask, **loaded.trace.options)[0].flatten(0, 1)
    close = 1e-4 if weight.dtype == torch.float32 else 0.02
    linear = LinearLogits(weight, bias)
    own: OwnLogits | None = None  # the model's own way, if it can be asked for a hidden state
    with contextlib.suppress(Exception):  # a forward that takes more from its backbone than the last hidden state
        asked = OwnLogits(loaded, weight, bias)
        own = asked if torch.allclose(asked(hidden), wanted, close, close) else None
    large = _LARGE / max(float(wanted.abs().max()), 1e-6) * hidden
    fits = hidden.shape[1] == weight.shape[1]  # else the head has layers before its output layer (ELECTRA)
    is_linear = own is None or (fits and all(torch.allclose(own(h), linear(h), close, close) for h in (hidden, large)))
    if is_linear and not (fits and torch.allclose(linear(hidden), wanted, close, close)):
        apart = f" (largest difference {float((linear(hidden) - wanted).abs().max()):.3g})" if fits else ""
        raise ModelError(
            f"model.path={loaded.label}: its logits are not made of its last hidden state alone{apart}; take another "
            "model"
        )
    if tokens is not None:
        weight, bias = differentiable_copy(weight[tokens]), None if bias is None else differentiable_copy(bias[tokens])
    return LinearLogits(weight, bias) if is_linear else OwnLogits(loaded, weight, bias)


def differentiable_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that a backward pass may go through, though heads are built in inference mode."""
    with torch.inference_mode(False):
        return tensor.clone()
