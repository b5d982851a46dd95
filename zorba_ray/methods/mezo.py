"""MeZO, the central reference: one client that holds all data, one central difference per step on all blocks.

Malladi et al.: Fine-Tuning Language Models with Just Forward Passes, NeurIPS 2023. A round is a step.
"""

from zorba_ray.methods.scalar_method import ScalarMethod


class MeZO(ScalarMethod):
    """No federation: `federation.clients` is 1, and nothing would have to travel."""

    name = "mezo"
