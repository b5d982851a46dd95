"""ZorBA: zeroth-order federated fine-tuning with heterogeneous block activation.

Meng, Tang, Wong: arXiv 2603.04436. Round as in algorithm.md §3: every client perturbs its own active blocks (one
minibatch, both signs), sends ρ = [F(θ + μz) − F(θ − μz)] / 2μ, and every replica moves block b by
−η Σ_n w_{n,b} (1/P) Σ_{k,p} ρ_{n,k,p} z_b(n, k, p) over the clients n that hold b.
"""

from zorba_ray.methods.scalar_method import ScalarMethod


class Zorba(ScalarMethod):
    """The method of the paper; federation.seeds: per_client is ours, shared is as DeComFL."""

    name = "zorba"
