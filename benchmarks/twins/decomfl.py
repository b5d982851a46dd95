"""DeComFL's round, from Li et al., "Achieving Dimension-Free Communication in Federated Learning via Zeroth-Order
Optimization" (ICLR 2025): K = 1 local step, P = 1 direction, central difference, every client takes part.

In a round the server names one seed for all. A client

1. goes back to the model that it last pulled and replays the rounds that it missed, drawing each direction again,
2. keeps a copy of that model,
3. estimates its scalar by three passes over the parameters and two forwards,
4. takes its local step with it, which the copy undoes when it pulls next.

The server moves its own model by the mean of the scalars. Clients have a model and a copy each; here they take turns
on one model, because all hold the same after a pull, but each does all of its arithmetic. The forward that the
published program adds for its progress bar is left out, which favours the twin.
"""

from collections.abc import Callable, Sequence

import torch


@torch.inference_mode()
def _move(tensors: Sequence[torch.Tensor], seed: int, scale: float) -> None:
    """Every tensor += scale · z, drawn tensor by tensor from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors:
        tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype), alpha=scale)


@torch.inference_mode()
def _copy(targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


class DecomflTwin:
    """Server and clients; `model` are the tensors that the clients' forwards compute with."""

    def __init__(self, model: Sequence[torch.Tensor], scale: float, lr: float) -> None:
        """`scale` is μ, `lr` is η."""
        self.model = model
        self.server = [tensor.clone() for tensor in model]
        self._pulled = [tensor.clone() for tensor in model]
        """What clients copied at their last pull."""
        self._fresh = [tensor.clone() for tensor in model]
        """What they copy at this one."""
        self._missed: list[tuple[int, float]] = []
        """(seed, mean scalar) of the rounds since the last pull."""
        self._scale = scale
        self._lr = lr

    def pull(self) -> None:
        """Steps 1 and 2 of one client: its model becomes the server's, and is copied."""
        _copy(self.model, self._pulled)
        for seed, scalar in self._missed:
            _move(self.model, seed, -self._lr * scalar)
        _copy(self._fresh, self.model)

    def local(self, loss: Callable[[], float], seed: int) -> float:
        """Steps 3 and 4 of one client; returns its scalar."""
        _move(self.model, seed, self._scale)
        plus = loss()
        _move(self.model, seed, -2.0 * self._scale)
        minus = loss()
        _move(self.model, seed, self._scale)
        rho = (plus - minus) / (2.0 * self._scale)
        _move(self.model, seed, -self._lr * rho)
        return rho

    def round(self, losses: Sequence[Callable[[], float]], seed: int) -> list[float]:
        """One round with one loss per client; returns the clients' scalars."""
        scalars = []
        for loss in losses:
            self.pull()
            scalars.append(self.local(loss, seed))
        mean = sum(scalars) / len(scalars)
        _move(self.server, seed, -self._lr * mean)
        self._pulled, self._fresh = self._fresh, self._pulled
        self._missed = [(seed, mean)]
        return scalars
