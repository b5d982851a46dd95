"""Whether a backend gives the reference's bytes where it is about to be used: compilers and drivers have faults."""

import itertools

import numpy as np
import torch

from zorba_ray.directions.backend import DirectionBackend, Terms
from zorba_ray.directions.reference import NumpyDirections
from zorba_ray.directions.streams import Distribution, tensor_stream

_DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")
_SIZE, _OFFSET = 2500, 37  # no multiples of a word, a group or a program
_SEED = 2**64 - 1
_COMMITS = ((-0.07, 0.03, 0.13), (0.011,))


def first_difference(backend: DirectionBackend, device: str) -> str | None:
    """Which operation on tensors of `device` differs in any byte from the numpy reference; None: they agree.

    Both operations, distributions and scratch types, on 2,500 elements.
    """
    sides = ((NumpyDirections(), "cpu"), (backend, device))
    for distribution in _DISTRIBUTIONS:
        for dtype, scale in itertools.product((torch.float32, torch.bfloat16), (1e-3, -1e-3)):
            if _differ(*(_perturbed(one, where, distribution, dtype, scale) for one, where in sides)):
                return f"perturb_into ({distribution}, {dtype})"
        if _differ(*(_committed(one, where, distribution) for one, where in sides)):
            return f"apply_commits ({distribution})"
    return None


def _perturbed(
    one: DirectionBackend, device: str, distribution: Distribution, dtype: torch.dtype, scale: float
) -> torch.Tensor:
    scratch = torch.empty(_SIZE, dtype=dtype, device=device)
    one.perturb_into(scratch, _theta(device), tensor_stream(_SEED, 1, 2, 3, distribution), scale, _OFFSET)
    return scratch


def _committed(one: DirectionBackend, device: str, distribution: Distribution) -> torch.Tensor:
    """θ after two commits of three and one terms."""
    theta, commits = _theta(device), []
    for coefficients in _COMMITS:
        seeds = np.full(len(coefficients), _SEED, dtype=np.uint64)
        numbers = np.arange(len(coefficients), dtype=np.uint64)
        commits.append(Terms(seeds, numbers, np.array(coefficients, dtype=np.float32), distribution))
    one.apply_commits(theta, 1, 2, commits, _OFFSET)
    return theta


def _theta(device: str) -> torch.Tensor:
    """fp32 [2500], made on the CPU: another device may round its own `linspace` otherwise."""
    return torch.linspace(-2.0, 2.0, _SIZE).to(device)


def _differ(wanted: torch.Tensor, got: torch.Tensor) -> bool:
    return not torch.equal(wanted.view(torch.uint8), got.cpu().view(torch.uint8))
