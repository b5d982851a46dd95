"""Steps along a direction of its own for each example of a batch, or for each group of examples.

Shapes: R rows of a batch, G groups of them, S signs, N tokens (with all of a module's further axes but the last).

z of a matrix [m, n] is r sᵀ, signs. So a linear layer is x Wᵀ + b + μ (x·s_g) r_g + μ z_g: a product with each token's
own s, and one more vector for each token. No copy of a weight is needed. Vectors are plain: norms and the like compute
with rows of vectors, w + μ z_g. A table has the vectors of all groups and signs: [S·G, n], those of θ + μz first.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from zorba_ray.directions.compiled import compiled
from zorba_ray.errors import ModelError
from zorba_ray.models.heads import Batch
from zorba_ray.models.linear import product

_NORMS = (nn.LayerNorm.forward, nn.RMSNorm.forward)
"""Norms that take one weight for all rows."""


@dataclass(frozen=True, eq=False)
class ExampleGroups:
    """The groups of a batch."""

    of_row: np.ndarray
    """int64 [R]: the group of each row."""
    count: int
    """G."""
    items: np.ndarray
    """int64 [examples]: the group of each example. An example has several rows where its options are scored."""
    _known: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    """Answers of `of_tokens`, which is asked for every module of a pass."""

    @classmethod
    def of(cls, batch: Batch, size: int) -> "ExampleGroups":
        """Groups of `size` examples, one after another; the last may have fewer."""
        assert not batch.shared, "tokens that all rows share have no row of their own"
        groups = np.arange(len(batch)) // size
        rows = groups
        if (options := batch.options) is not None:
            row, column, token = options.real_BCL.cpu().numpy().nonzero()
            places = options.positions_N.cpu().numpy()[options.read_BCL.cpu().numpy()[row, column, token]]
            rows = np.zeros(len(batch.ids_BT), dtype=np.int64)
            rows[places // batch.ids_BT.shape[1]] = groups[row]
        return cls(rows, int(groups[-1]) + 1, groups)

    def of_tokens(self, tokens: int, signs: int) -> np.ndarray:
        """int64 [N]: for each token of a module's input, which row of a table is its own.

        Raises:
            ModelError: the input does not have the rows of the batch one after another.
        """
        if (known := self._known.get((tokens, signs))) is not None:
            return known
        each, rest = divmod(tokens, signs * len(self.of_row))
        if rest:
            raise ModelError(
                f"a module in scope is given {tokens} vectors for {len(self.of_row)} rows, so that an example cannot "
                "have a direction of its own: set zo.directions_per=batch"
            )
        both = np.concatenate([self.of_row + sign * self.count for sign in range(signs)])
        self._known[tokens, signs] = np.repeat(both, each)
        return self._known[tokens, signs]

    def sums(self, values: torch.Tensor, items: torch.Tensor) -> np.ndarray:
        """Per group its share of a mean over all items, times G: float64 [G], whose mean is the mean over all items.

        Args:
            values: [items], the items of one example after those of another.
            items: int64 [examples], how many each example has.
        """
        groups = np.repeat(self.items, items.cpu().numpy())
        total = np.bincount(groups, values.double().cpu().numpy(), self.count)
        return total * (self.count / len(groups))


def takes_rows(module: nn.Module) -> bool:
    """Whether a module without children has vectors alone, so that it may compute with rows of them."""
    return all(tensor is None or tensor.ndim == 1 for tensor in module._parameters.values())


def is_norm(module: nn.Module) -> bool:
    """Whether it is a norm that takes one weight for all rows, so that its weight is applied behind it."""
    return type(module).forward in _NORMS


def spread(table: torch.Tensor, x: torch.Tensor, groups: ExampleGroups, signs: int) -> torch.Tensor:
    """The row of a table that each vector of x [..., n] takes, in a shape that broadcasts with x."""
    if x.shape[0] == signs * len(groups.of_row):
        own = groups.of_tokens(x.shape[0], signs)
        shape = (x.shape[0], *[1] * (x.ndim - 2), table.shape[1])
    else:
        own, shape = groups.of_tokens(x.numel() // x.shape[-1], signs), x.shape
    return table[torch.from_numpy(own).to(table.device)].view(shape)


def linear_by_example(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    steps: tuple[torch.Tensor, torch.Tensor] | None,
    bias_steps: torch.Tensor | None,
    groups: ExampleGroups,
    signs: int,
) -> torch.Tensor:
    """y of a linear layer whose weight is W + r sᵀ for each token.

    Args:
        x: [..., n], the rows of all signs on the first axis.
        weight: [m, n].
        steps: tables (r with sign and μ in it [S·G, m], s [S·G, n]); None: the weight is not perturbed.
        bias_steps: table [S·G, m] of steps of the bias.
    """
    x = x.to(weight.dtype)
    y = product(x, weight, bias)
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
    own = groups.of_tokens(len(flat_x), signs)
    if y.device.type == "cpu" and y.dtype == torch.float32:
        nothing = np.empty((0, 0), dtype=np.float32)
        far, near = (nothing, nothing) if steps is None else (steps[0].numpy(), steps[1].numpy())
        _add_steps(flat_y.numpy(), flat_x.numpy(), own, far, near, nothing if bias_steps is None else bias_steps.numpy())
        return y
    rows, moved = torch.from_numpy(own).to(y.device), flat_y.float()
    if steps is not None:
        moved = moved + (flat_x.float() * steps[1][rows]).sum(dim=1, keepdim=True) * steps[0][rows]
    if bias_steps is not None:
        moved = moved + bias_steps[rows]
    return moved.to(y.dtype).view(y.shape)


@compiled(fastmath={"reassoc", "contract"})
def _dot(a, b):
    total = np.float32(0)
    for e in range(a.size):
        total += a[e] * b[e]
    return total


@compiled()
def _add_steps(y, x, own, far, near, shift):
    """y [N, m] += (x · near) far + shift, of the row `own` of each table; a table without rows is left out."""
    for token in range(y.shape[0]):
        row = own[token]
        if far.size:
            length = _dot(x[token], near[row])
            for e in range(y.shape[1]):
                y[token, e] += length * far[row, e]
        if shift.size:
            for e in range(y.shape[1]):
                y[token, e] += shift[row, e]
