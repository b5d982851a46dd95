"""Every row that a GPU owes, in at most eight minutes: bits, kernels, memory, whole steps and rounds.

It needs neither Ray nor Pyomo nor a model: weights are random, in the shapes of real models. The rows are also written
to a file, each as soon as it is there, so that nothing is lost where the run is cut off.
"""

from pathlib import Path

import torch

from benchmarks.gpu import digests, kernels, memory, steps
from benchmarks.gpu.device import Device
from benchmarks.gpu.session import FULL, QUICK, Session
from benchmarks.rows import Row

OUT = Path("build") / "gpu.json"


def rows(quick: bool, out: Path | None = None) -> list[Row]:
    """All rows; without a CUDA device each says that it was not run.

    `out`: their file; None: OUT, which is left alone where there is no device.
    """
    device = Device() if torch.cuda.is_available() else None
    session = Session(device, QUICK if quick else FULL, out or (OUT if device else None))
    measure(session)
    return session.rows


def measure(session: Session) -> None:
    """Takes all rows, the quickest first."""
    for part in (digests, kernels, steps, memory):
        part.measure(session)
