"""Steps along a direction of its own for each example of a batch, or for each group of examples.

Shapes: R rows of a batch, G groups of them, S signs, N tokens (with all of a module's further axes but the last).

z of a matrix [m, n] is r sᵀ, signs. So a linear layer is x Wᵀ + b + μ (x·s_g) r_g + μ z_g: a product with each token's
own s, and one more vector for each token. No copy of a weight is needed. Vectors are plain: norms and the like compute
with rows of vectors, w + μ z_g.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from zorba_ray.directions.compiled import compiled
from zorba_ray.errors import ModelError
from zorba_ray.models.batch import Batch
from zorba_ray.models.linear import product
from zorba_ray.models.packing import Packing


@dataclass(frozen=True, eq=False)
class ExampleGroups:
    """The groups of a batch."""

    of_row: np.ndarray
    """int64 [R]: the group of each row."""
    count: int
    """G."""
    items: np.ndarray
    """int64 [examples]: the group of each example. An example has several rows where its options are scored."""
    packing: Packing | None = None
    """Where the tokens of a packed batch are."""
    _known: dict[tuple[torch.Size, int], np.ndarray] = field(default_factory=dict)
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
        return cls(rows, int(groups[-1]) + 1, groups, batch.packing)

    def of_tokens(self, shape: torch.Size, signs: int) -> np.ndarray:
        """int64 [N]: for each vector of a module's input, its group + G · its sign (0: θ + μz, 1: θ − μz).

        Args:
            shape: of the input without its last axis: the rows of all signs, or all of their tokens, on the first one.

        Raises:
            ModelError: the input does not have the rows of the batch one after another.
        """
        if (known := self._known.get((shape, signs))) is not None:
            return known
        of_row, rest = self.of_row, 0
        if self.packing is not None:  # [S, N, …], or [S · N]
            tokens = shape[1] if len(shape) > 1 else shape[0] // signs
            of_row = of_row[self.packing.rows_of(tokens).cpu().numpy()]
            rest = tokens - len(of_row)
        each, more = divmod(shape.numel(), signs * len(of_row))
        if rest or more:
            raise ModelError(
                f"a module in scope is given {list(shape)} vectors for {len(self.of_row)} rows, so that an example "
                "cannot have a direction of its own: set zo.directions_per=batch"
            )
        both = np.concatenate([of_row + sign * self.count for sign in range(signs)])
        self._known[shape, signs] = np.repeat(both, each)
        return self._known[shape, signs]

    def sums(self, values: torch.Tensor, items: torch.Tensor) -> np.ndarray:
        """Per group its share of a mean over all items, times G: float64 [G], whose mean is the mean over all items.

        Args:
            values: [items], the items of one example after those of another.
            items: int64 [examples], how many each example has.
        """
        groups = np.repeat(self.items, items.cpu().numpy())
        total = np.bincount(groups, values.double().cpu().numpy(), self.count)
        return total * (self.count / len(groups))


def spread(signs: torch.Tensor, x: torch.Tensor, groups: ExampleGroups, steps: np.ndarray) -> torch.Tensor:
    """step · z for each vector of x [..., n], fp32, in a shape that broadcasts with x.

    Args:
        signs: z of each group, fp32 [G, n].
        steps: sign · μ of each sign, float32 [S].
    """
    if groups.packing is None and x.shape[0] == len(steps) * len(groups.of_row):
        own, shape = groups.of_tokens(x.shape[:1], len(steps)), (x.shape[0], *[1] * (x.ndim - 2), signs.shape[1])
    else:
        own, shape = groups.of_tokens(x.shape[:-1], len(steps)), x.shape
    return _steps_of(signs, own, steps).view(shape)


def linear_by_example(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    signs: torch.Tensor | None,
    bias_signs: torch.Tensor | None,
    groups: ExampleGroups,
    steps: np.ndarray,
    transposed: bool,
) -> torch.Tensor:
    """y of a linear layer whose weight is W + step · r sᵀ for each token, and whose bias is b + step · z.

    Args:
        x: [..., n], the rows of all signs on the first axis.
        weight: [m, n].
        signs: of each group [r, s], fp32 [G, m + n]; None: the weight is not perturbed.
        bias_signs: of each group, fp32 [G, m].
        steps: sign · μ of each sign, float32 [S].
        transposed: the layer holds Wᵀ, so that signs are [s, r].
    """
    x = x.to(weight.dtype)
    y = product(x, weight, bias)
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
    own = groups.of_tokens(x.shape[:-1], len(steps))
    far, near = (x.shape[-1], 0) if transposed else (0, y.shape[-1])
    if _is_plain(y):
        _add_steps(flat_y.numpy(), flat_x.numpy(), own, steps, _array(signs), far, near, _array(bias_signs))
        return y
    turns = np.flatnonzero(np.diff(own)) + 1  # tokens of one group follow one another, so nothing is copied per token
    for begin, end in itertools.pairwise([0, *turns.tolist(), len(own)]):
        sign, group = divmod(int(own[begin]), groups.count)
        step, part = float(steps[sign]), flat_y[begin:end]
        if signs is not None:
            r, s = (signs[group, at : at + size].to(y.dtype) for at, size in ((far, y.shape[-1]), (near, x.shape[-1])))
            part.addr_(flat_x[begin:end] @ s, r, alpha=step)
        if bias_signs is not None:
            part.add_(bias_signs[group], alpha=step)
    return y


def scale_by_example(
    normed: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    signs: torch.Tensor | None,
    bias_signs: torch.Tensor | None,
    groups: ExampleGroups,
    steps: np.ndarray,
) -> None:
    """normed (fp32, in place) ← normed · (w + step · z) + b + step · z, with the z of each token's group.

    Args:
        weight, bias: fp32 [n]; None: 1 and 0.
        signs, bias_signs: fp32 [G, n]; None: that tensor is not perturbed.
        steps: sign · μ of each sign, float32 [S].
    """
    if _is_plain(normed) and weight is not None:
        flat = normed.view(-1, normed.shape[-1])
        own = groups.of_tokens(normed.shape[:-1], len(steps))
        offset = torch.zeros_like(weight) if bias is None else bias
        _scale(flat.numpy(), own, steps, weight.numpy(), _array(signs), offset.numpy(), _array(bias_signs))
        return
    if weight is not None:
        normed.mul_(weight if signs is None else weight + spread(signs, normed, groups, steps))
    if bias is not None:
        normed.add_(bias if bias_signs is None else bias + spread(bias_signs, normed, groups, steps))


def _steps_of(signs: torch.Tensor, own: np.ndarray, steps: np.ndarray) -> torch.Tensor:
    """step · z of each token, fp32 [N, n]."""
    groups, sizes = own % len(signs), steps[own // len(signs)]
    return signs[torch.tensor(groups, device=signs.device)] * torch.tensor(sizes, device=signs.device)[:, None]


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether the kernels of this file can change it."""
    fake = isinstance(tensor, FakeTensor)  # one that is counted, and has no memory
    return not fake and tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.is_contiguous()


def _array(signs: torch.Tensor | None) -> np.ndarray:
    return np.empty((0, 0), dtype=np.float32) if signs is None else signs.numpy()


@compiled(fastmath={"reassoc", "contract"})
def _dot(a, b):
    total = np.float32(0)
    for e in range(a.size):
        total += a[e] * b[e]
    return total


@compiled()
def _add_steps(y, x, own, steps, signs, far, near, shift):
    """y [N, m] += step · ((x · s) r + z); r and s begin at `far` and `near` in the rows of `signs`.

    `signs` or `shift`, the z, may have no rows.
    """
    groups = max(signs.shape[0], shift.shape[0])
    for token in range(y.shape[0]):
        row, step = own[token] % groups, steps[own[token] // groups]
        target = y[token]
        if signs.size:
            length = step * _dot(x[token], signs[row, near : near + x.shape[1]])
            r = signs[row, far : far + target.size]
            if shift.size:
                z = shift[row]
                for e in range(target.size):
                    target[e] += length * r[e] + step * z[e]
            else:
                for e in range(target.size):
                    target[e] += length * r[e]
        else:
            z = shift[row]
            for e in range(target.size):
                target[e] += step * z[e]


@compiled()
def _scale(y, own, steps, weight, signs, bias, shift):
    """y [N, n] ← y (w + step · z) + b + step · z'; `signs`, the z, or `shift`, the z', may have no rows."""
    groups = max(signs.shape[0], shift.shape[0])
    for token in range(y.shape[0]):
        row, step = own[token] % groups, steps[own[token] // groups]
        target = y[token]
        if signs.size:
            z = signs[row]
            for e in range(target.size):
                target[e] *= weight[e] + step * z[e]
        else:
            for e in range(target.size):
                target[e] *= weight[e]
        if shift.size:
            z = shift[row]
            for e in range(target.size):
                target[e] += bias[e] + step * z[e]
        else:
            for e in range(target.size):
                target[e] += bias[e]
