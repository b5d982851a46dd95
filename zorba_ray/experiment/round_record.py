"""The record of a round, as far as it is known when the round counts."""

import numpy as np

from zorba_ray.artifacts import Round
from zorba_ray.federation import RoundResult
from zorba_ray.protocol.messages import count_round

CLIENT_LOSSES = 64
"""Clients asked up to which a record holds the loss of each."""


def round_record(result: RoundResult, commits: str, present: int, peak_rss_bytes: int) -> Round:
    """All of a round but `distance` and `time`, which are known once the commit is applied.

    Args:
        commits: `Method.commits`; figures of scalars are None where a commit has none.
        present: clients of the federation in this round. Who is not asked needs a commit of scalars all the same, or
            could not catch up; tensors and sums of a pool replace those before, and go to who is asked.
        peak_rss_bytes: of the driver's process.
    """
    traffic = count_round(result.plan, result.plan_frame, result.commit, result.body, result.frames)
    scalars = result.scalars.astype(np.float64) if commits in ("scalars", "mean") else None
    receivers = present if commits in ("scalars", "mean") else len(result.asked)
    return Round(
        round=result.plan.round,
        loss=result.loss,
        client_loss=dict(result.client_loss) if len(result.asked) <= CLIENT_LOSSES else {},
        lr=result.plan.lr,
        scalar_rms=None if scalars is None else float(np.sqrt((scalars**2).mean())),
        scalar_mean=None if scalars is None else float(scalars.mean()),
        clients_asked=len(result.asked),
        clients_ok=len(result.reports),
        clients_failed=len(result.failed),
        clients_late=len(result.late),
        rejected=dict(result.rejected),
        failures={**result.failed, **result.late},
        report_bytes=traffic.reports,
        plan_bytes=traffic.plan,
        commit_bytes=traffic.commit,
        active_set_bytes=traffic.active_sets,
        bytes_up=traffic.reports,
        bytes_down=len(result.plan_frame) * len(result.asked) + len(result.body) * receivers,
        peak_rss_bytes=peak_rss_bytes,
    )
