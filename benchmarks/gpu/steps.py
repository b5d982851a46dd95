"""Whole steps and rounds of models with random weights, against MeZO's step, the count of bytes, and the modelled time.

A step is a forward pair of one client in bf16. A round is a commit to all blocks and then a step: so it has all that a
commit costs, masters on the host moved and frozen copies made and copied anew.
"""

import functools
import gc
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.gpu.kernels import copied, linked, multiplied
from benchmarks.gpu.session import DISTANCE, WITHIN, Session
from benchmarks.shapes import PROMPT, WORDS, tokenizer
from benchmarks.twins import MezoTwin, plain_loss
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend, direction_seed
from zorba_ray.memory.count import counted
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.memory.round_time import Speeds, pair_seconds
from zorba_ray.memory.table import ModelProfile, model_profile
from zorba_ray.models import RESIDENT, STREAMED, HostStore, LoadedModel, Perturbation, Placement, TaskModel
from zorba_ray.models.heads import build_head
from zorba_ray.models.shapes import skeleton
from zorba_ray.zo import PendingCommits, RoundUpdate, UpdateRule

MU, LR = 1e-3, 1e-6
_RULE = UpdateRule(1, "per_client", "data", "rademacher", "all", 1, 1, (1,))
_TURNS = 3


class Case(NamedTuple):
    """Where a client keeps its blocks, and how many are active."""

    placement: Placement
    share: Fraction

    def __str__(self) -> str:
        return f"{PairedStep(self.placement).label}, {self.share if self.share < 1 else 'all'} active"


_COPIES = Case(Placement("device", "host"), Fraction(1, 4))
_STREAMED = Case(STREAMED, Fraction(1, 4))
CASES = (
    Case(RESIDENT, Fraction(1)),
    Case(RESIDENT, Fraction(1, 4)),
    _COPIES,
    Case(Placement("device", "host", "int8"), Fraction(1, 4)),
    Case(Placement("device", "host", "nf4"), Fraction(1, 4)),
    _STREAMED,
    Case(Placement("host", "host", "nf4"), Fraction(1, 8)),
)


def measure(session: Session) -> None:
    """Rows per model: MeZO's step; then per placement the step, its bytes, and the round; then what streaming hides."""
    for shape in session.sizes.shapes:
        whole = Whole(session, shape)
        name = f"{shape}, bf16, batch {session.sizes.batch} × {session.sizes.length}"
        session.row(f"{name}: MeZO's step on all parameters", "ms", None, whole.mezo)
        for case in CASES:
            about = f"{name}, {case}"
            session.row(f"{about}: step", "ms", None, partial(whole.step, case))
            session.row(f"{about}: MeZO's step / ours", "×", None, partial(whole.against_mezo, case))
            session.row(f"{about}: {DISTANCE}", "%", WITHIN, partial(whole.distance, case))
            session.row(f"{about}: commit and step", "ms", None, partial(whole.round, case))
            told = "commit and step / modelled with the speeds of this machine"
            session.row(f"{about}: {told}", "×", None, partial(whole.against_model, case))
        told = "share of the shorter of computing and copying that is hidden behind the other"
        session.row(f"{name}, {_STREAMED}: {told}", "", None, whole.hidden)
        whole.free()


class Whole:
    """One model: what several rows need is measured once, by the first of them."""

    def __init__(self, session: Session, shape: str) -> None:
        self._session, self._shape = session, shape
        self._client: Client | None = None
        self._mezo: list[float] = []
        self._steps: dict[Case, list[float]] = {}
        self._rounds: dict[Case, list[float]] = {}

    @property
    def client(self) -> "Client":
        """Our client, made when a row asks for it."""
        if self._client is None:
            self._client = Client(self._session, self._shape)
        return self._client

    @functools.cached_property
    def _profile(self) -> ModelProfile:
        sizes = self._session.sizes
        return model_profile(ModelConfig(path=self._shape), "bf16", "all", sizes.batch, sizes.length, len(WORDS))

    def free(self) -> None:
        """Gives the memory back."""
        self._client = None
        gc.collect()

    def mezo(self) -> list[float]:
        """Milliseconds of MeZO's step, before our own model takes memory."""
        device, numbers = self._session.device, itertools.count()
        plain = on_device(self._shape, torch.bfloat16, device.name)
        with torch.inference_mode():
            head = build_head(ModelConfig(), plain, PROMPT, WORDS, None)
        twin = MezoTwin([parameter.data for parameter in plain.network.parameters()], MU, LR)
        loss = plain_loss(plain, head, self._session.batch())
        self._mezo = device.turns(lambda: twin.step(loss, next(numbers)), _TURNS)
        return [1e3 * seconds for seconds in self._mezo]

    def step(self, case: Case) -> list[float]:
        """Milliseconds of our step."""
        if case not in self._steps:
            client, active = self.client, self._active(case)
            client.model.use_placement(case.placement)
            self._steps[case] = self._session.device.turns(lambda: client.step(active), _TURNS)
        return [1e3 * seconds for seconds in self._steps[case]]

    def against_mezo(self, case: Case) -> list[float]:
        """MeZO's time over ours."""
        return [1e3 * _middle(self._mezo) / ours for ours in self.step(case)]

    def distance(self, case: Case) -> list[float]:
        """Percent from the peak of the step to its count."""
        client, active = self.client, self._active(case)
        client.model.use_placement(case.placement)
        client.step(active)
        peak = self._session.device.peak(lambda: client.step(active)) - client.before
        step = PairedStep(case.placement, active)
        return self._session.distance(counted(self._profile.model, "bf16", self._profile.work, step).total, peak)

    def round(self, case: Case) -> list[float]:
        """Milliseconds of a commit and the step behind it."""
        if case not in self._rounds:
            client, active = self.client, self._active(case)
            client.model.use_placement(case.placement)

            def round() -> None:
                client.commit()
                client.step(active)

            self._rounds[case] = self._session.device.turns(round, _TURNS)
        return [1e3 * seconds for seconds in self._rounds[case]]

    def against_model(self, case: Case) -> list[float]:
        """The round's time over the modelled one, which leaves out what the host does beside packing."""
        modelled = pair_seconds(self._inventory(case), self._profile.work, self._active(case), _speeds(self._session))
        return [measured / 1e3 / modelled for measured in self.round(case)]

    def hidden(self) -> list[float]:
        """What streaming hides: (computing + copying − both) / the shorter of the two."""
        moved = self._inventory(_STREAMED).streamed(self._active(_STREAMED))
        copying = 1e3 * moved / _speeds(self._session).link
        computing, both = _middle(self.step(_COPIES)), _middle(self.step(_STREAMED))
        self._session.note("ms", f"{computing:.1f} computing, {copying:.1f} copying, {both:.1f} both at once")
        return [(computing + copying - both) / min(computing, copying)]

    def _active(self, case: Case) -> frozenset[int]:
        """Spread evenly, as in the table of `zorba-ray profile`."""
        blocks = self._profile.manifest.blocks
        number = max(1, round(case.share * blocks))
        return frozenset(index * blocks // number for index in range(number))

    def _inventory(self, case: Case) -> Inventory:
        return Inventory(self._profile.manifest, case.placement, "all", COMPUTE_BYTES["bf16"])


class Client:
    """One client on its model."""

    def __init__(self, session: Session, shape: str) -> None:
        device = session.device
        self.before = device.allocated()
        """Bytes that others hold."""
        plain = on_device(shape, torch.float32, device.name)
        plain.network.to("cpu")
        directions = direction_backend(device.directions, device.name)
        store = HostStore(torch.bfloat16, apart=True, packs=True)
        self.model = TaskModel(plain, ModelConfig(), PROMPT, WORDS, "all", directions, device.name, 0, store)
        replica = self.model.replica
        self._pending = PendingCommits(_RULE, replica.manifest, direction_backend("numba"), directions)
        replica.commits = self._pending
        self._batch = session.batch()
        self._numbers = itertools.count(1)

    def step(self, active: frozenset[int]) -> tuple[float, float]:
        """A forward pair along a new direction."""
        prepared = self.model.prepare(self._batch, active)
        seed = direction_seed(_RULE.seed, next(self._numbers), 0, 0)
        return self.model.pair(prepared, Perturbation(seed, 0, MU, _RULE.distribution))

    def commit(self) -> None:
        """A commit with one scalar; all blocks move, as in a federation that activates each of them somewhere."""
        every = ActiveSets.of_all(1, self.model.replica.manifest.blocks)
        scalars = np.ones((1, 1, 1), dtype=np.float32)
        self._pending.add([RoundUpdate(next(self._numbers), LR, np.zeros(1, dtype=np.int64), scalars, every)])


def on_device(shape: str, dtype: torch.dtype, device: str) -> LoadedModel:
    """A network of a shape with random weights, made where that is quick, and the built-in tokenizer."""
    with torch.device(device):
        return replace(skeleton(ModelConfig(path=shape), dtype), tokenizer=tokenizer())


@functools.cache
def _speeds(session: Session) -> Speeds:
    """Of this machine."""
    link, memory, products = (_middle(measured(session)) for measured in (linked, copied, multiplied))
    return Speeds(products * 1e12, link * 1e9, memory * 1e9, os.cpu_count() or 1)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
