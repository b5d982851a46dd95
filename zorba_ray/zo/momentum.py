"""Momentum as a sum over the last commits: no tensor beside θ, nothing sent, derived by every replica.

    θ_t = θ_{t−1} + Σ_{i=0}^{W−1} s_i Δ_{t−i},   s_i = β^i (1 − β) / (1 − β^W),

Δ_t being the update that round t alone would make, with its own directions, rate and holders. Heavy-ball momentum is
the same sum without end; cut after W rounds it needs the scalars of W commits and not a second θ.

The shares add up to 1: each commit moves θ by its own Δ in the end, spread over W rounds. So η means what it means
without momentum, and a rate found without it is the one to begin with; unscaled, β = 0.9 would be ten times the rate.
"""

import functools


@functools.cache
def shares(momentum: float, window: int) -> tuple[float, ...]:
    """s_0 … s_{W−1}; (1.0,) without momentum. Products and sums left to right in float64, alike everywhere."""
    if not momentum:
        return (1.0,)
    powers = [1.0]
    for _ in range(window - 1):
        powers.append(powers[-1] * momentum)
    together = 0.0
    for power in powers:
        together += power
    return tuple(power / together for power in powers)
