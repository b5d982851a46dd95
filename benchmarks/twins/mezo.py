"""MeZO's step, from Algorithm 1 of Malladi et al., "Fine-Tuning Language Models with Just Forward Passes" (2023).

One seed per step; the normals are drawn again in each of the four passes over the parameters, which are moved in
place: θ + μz, θ − μz, θ, θ − ηρz. Two full forwards between the first three. The move is one fused `add_` where the
published code makes temporaries, which favours the twin.
"""

from collections.abc import Callable, Sequence

import torch


@torch.inference_mode()
def mezo_pass(tensors: Sequence[torch.Tensor], seed: int, scale: float) -> None:
    """Every tensor += scale · z, z standard normal in the tensor's dtype, drawn tensor by tensor under `seed`."""
    torch.manual_seed(seed)
    for tensor in tensors:
        z = torch.normal(mean=0.0, std=1.0, size=tensor.shape, dtype=tensor.dtype, device=tensor.device)
        tensor.add_(z, alpha=scale)


class MezoTwin:
    """Central MeZO on `tensors`, in place."""

    def __init__(self, tensors: Sequence[torch.Tensor], scale: float, lr: float) -> None:
        """`scale` is μ, `lr` is η."""
        self._tensors = tensors
        self._scale = scale
        self._lr = lr

    def step(self, loss: Callable[[], float], seed: int) -> float:
        """One step on one batch; returns ρ = [F(θ + μz) − F(θ − μz)] / 2μ."""
        mezo_pass(self._tensors, seed, self._scale)
        plus = loss()
        mezo_pass(self._tensors, seed, -2.0 * self._scale)
        minus = loss()
        mezo_pass(self._tensors, seed, self._scale)
        rho = (plus - minus) / (2.0 * self._scale)
        mezo_pass(self._tensors, seed, -self._lr * rho)
        return rho
