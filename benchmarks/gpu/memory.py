"""The count of bytes against the peak of torch's allocator over the same step: every method in every placement."""

import functools
import gc
from fractions import Fraction

import torch

from benchmarks.gpu.session import DISTANCE, WITHIN, Session
from benchmarks.shapes import WORDS
from zorba_ray.config import ModelConfig
from zorba_ray.memory.count import DTYPES, counted, prepared
from zorba_ray.memory.storage_counter import StorageCounter
from zorba_ray.memory.table import ModelProfile, ProfiledClient, clients, model_profile
from zorba_ray.models.shapes import skeleton

_SHARE = Fraction(1, 4)


def measure(session: Session) -> None:
    """A row per method and placement."""
    sizes = session.sizes
    profile = model_profile(ModelConfig(path=sizes.counted), "bf16", "all", sizes.batch, sizes.length, len(WORDS))
    for client in clients(profile.manifest.blocks, "all", (_SHARE,)):
        name = f"{client.label}, {client.fraction} active" if client.fraction else client.label
        values = functools.partial(_distance, session, profile, client)
        session.row(f"bytes of {client.method}, {name}: {DISTANCE}", "%", WITHIN, values)


def _distance(session: Session, profile: ModelProfile, client: ProfiledClient) -> list[float]:
    device = session.device
    gc.collect()
    before = device.allocated()
    with torch.device(device.name), StorageCounter() as counter:
        step = prepared(skeleton(profile.model, DTYPES["bf16"]), profile.work, client.step, counter, device.name)
    step()
    peak = device.peak(step) - before
    return session.distance(counted(profile.model, "bf16", profile.work, client.step).total, peak)
