"""A federation in which one client's reports are not what the client computed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from zorba_ray.experiment.backends import BackendFactory, sequential_backend
from zorba_ray.federation import Backend
from zorba_ray.federation.backend import Answer, Failure
from zorba_ray.protocol.messages import ClientReport, ProbePlan, ProbeReport, RoundPlan, decode, decode_question, encode

Report = TypeVar("Report", ClientReport, ProbeReport)
Change = Callable[[ClientReport], ClientReport | None]
"""What becomes of the report; None: it never arrives."""


def hostile(
    client: int,
    number: int | None,
    change: Callable[[Report], Report | None],
    inner: BackendFactory = sequential_backend,
    of: type[Report] = ClientReport,
) -> BackendFactory:
    """`inner`, with the report of `client` (−1: the last) in round `number` (None: in all), or in the probe before it,
    changed."""
    asked = RoundPlan if of is ClientReport else ProbePlan

    def make(*arguments: Any) -> Backend:
        backend, setup = inner(*arguments), arguments[0]
        culprit = client % setup.config.federation.clients
        ask = backend.ask

        def changed(frame: bytes, clients: Sequence[int]) -> dict[int, Answer]:
            answers, plan = dict(ask(frame, clients)), decode_question(frame)
            if isinstance(plan, asked) and number in (None, plan.round):
                honest = answers[culprit]
                assert isinstance(honest, bytes)
                report = change(decode(honest, of))
                answers[culprit] = Failure("failed", "gone") if report is None else encode(report)
            return answers

        backend.ask = changed  # type: ignore[method-assign]
        return backend

    return make


def scalars_of(value: float, loss: float | None = None) -> Change:
    """Every scalar, or weight of a trained tensor, is `value`; and the loss is `loss`, if one is given."""

    def change(report: ClientReport) -> ClientReport:
        scalars = np.full(len(report.scalars) // 4, value, dtype="<f4").tobytes()
        told = report.loss if loss is None else np.float32(loss).tobytes()
        return msgspec.structs.replace(report, scalars=scalars, loss=told)

    return change


def steps_of(value: float, loss: float | None = None) -> Change:
    """`scalars_of` for reports of (seed, scalar) pairs, whose seeds stay."""

    def change(report: ClientReport) -> ClientReport:
        pairs = np.frombuffer(report.scalars, dtype="<f4").copy()
        pairs[1::2] = value
        told = report.loss if loss is None else np.float32(loss).tobytes()
        return msgspec.structs.replace(report, scalars=pairs.tobytes(), loss=told)

    return change


def gone(report: ClientReport) -> None:
    """The report never arrives."""


without_the_last = hostile(-1, None, gone)
"""A `BackendFactory`: the last client never answers."""
