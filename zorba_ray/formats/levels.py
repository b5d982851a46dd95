"""The 16 values of NF4, and the borders between them.

Source: QLoRA (arXiv 2305.14314), appendix E. Each level is the quantile of a normal distribution, scaled to −1 … 1.
"""

import itertools

import numpy as np

LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""fp32 numbers, ascending."""
MIDPOINTS = tuple(np.float32((low + high) / 2) for low, high in itertools.pairwise(LEVELS))
"""A value above k of these 15 numbers has the code k."""
