"""A run in figures: the record of a round as far as it is known when the round counts, and what summary.json says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zorba_ray.artifacts import Budget, Eval, Round
from zorba_ray.artifacts.allocation import AllocationRecord, AssignedClient
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Diverged, Interrupted, LostClients
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


_STATUS: dict[type[BaseException], str] = {
    LostClients: "lost_clients",
    Diverged: "diverged",
    Interrupted: "interrupted",
    KeyboardInterrupt: "interrupted",
}


def status_of(error: BaseException) -> str:
    """The status of a run that `error` ended."""
    return _STATUS.get(type(error), "failed")


def figures(
    config: ExperimentConfig,
    allocation: AllocationRecord,
    rounds: Sequence[Round],
    evals: Sequence[Eval],
    vram_peaks: Mapping[int, int],
    kept: int | None,
) -> dict[str, Any]:
    """The fields of `Summary` that follow from a run's records; the others only its session knows.

    Args:
        rounds, evals: in file order; no evaluation of a finished run after the round that is kept.
        vram_peaks: client -> bytes measured on a real GPU.
        kept: the round that is kept; None of a run that is not finished.
    """
    validation = [record for record in evals if record.split == "validation"]
    test = {record.round: record for record in evals if record.split == "test"}
    ends = {
        "start": validation[0] if validation else None,
        "final": validation[-1] if validation else None,
        "start_test": test.get(0),
        "test": None if kept is None else test.get(kept),
    }
    counted = [record for record in rounds if record.report_bytes is not None]  # not those rebuilt from the ledger
    reports = sum((record.clients_ok or 0) + len(record.rejected) for record in counted)
    up = sum(record.report_bytes or 0 for record in counted)
    down = sum((record.plan_bytes or 0) + (record.commit_bytes or 0) for record in counted)
    pairs = 0 if config.spec.backward else config.zo.directions * config.zo.local_steps
    probes = allocation.probes
    return {
        "adversaries": tuple(entry.text for entry in config.adversaries),
        "method": config.method,
        "rounds": config.rounds,
        "rounds_done": len(rounds),
        **{f"{name}_loss": record and record.loss for name, record in ends.items()},
        **{f"{name}_accuracy": record and record.accuracy for name, record in ends.items()},
        "evaluations": {name: record for name, record in ends.items() if record is not None},
        "distance": next((record.distance for record in reversed(rounds[:kept]) if record.distance is not None), None),
        "bytes_up_per_client_round": up / reports if reports else None,
        "bytes_down_per_client_round": down / len(counted) if counted else None,
        "active_set_bytes": sum(record.active_set_bytes for record in rounds),
        "forward_pairs_per_client": pairs * len(rounds),
        "forward_passes_per_client": config.passes_per_round * len(rounds),
        "vram_bytes_per_client": {
            "source": allocation.bytes_source,
            "accelerator": allocation.accelerator,
            "clients": [
                {"client": client.client, "bytes": client.bytes, "budget_bytes": client.budget_bytes}
                for client in allocation.clients
            ],
            "all_active": allocation.bytes_all_active,
        },
        "budgets": budgets(allocation, vram_peaks),
        "allocation_gap": allocation.gap,
        "assignments": len(allocation.assignments),
        "probes": len(probes),
        "probe_forward_pairs": sum(probe.forward_pairs for probe in probes),
        "probe_bytes_up": sum(probe.bytes_up for probe in probes),
        "probe_bytes_down": sum(probe.bytes_down for probe in probes),
        "clients_failed": sum(record.clients_failed or 0 for record in rounds),
        "clients_late": sum(record.clients_late or 0 for record in rounds),
        "clients_rejected": sum(len(record.rejected) for record in rounds),
    }


def budgets(allocation: AllocationRecord, peaks: Mapping[int, int]) -> tuple[Budget, ...]:
    """Peak against budget: of each class of clients, in the order of the fleet, the fullest by share of the budget.

    A peak is `measured` where the client was measured, else what the allocation counted with. `largest_part` is of the
    memory model.

    Args:
        peaks: client -> bytes measured on a real GPU; empty on simulated ones.
    """
    classes: dict[str, list[AssignedClient]] = {}
    for client in allocation.clients:
        classes.setdefault(client.kind, []).append(client)

    def peak_of(client: AssignedClient) -> int:
        return peaks.get(client.client, client.bytes)

    rows = []
    for kind, clients in classes.items():
        fullest = max(clients, key=lambda each: (peak_of(each) / (each.budget_bytes or 1), -each.client))
        parts = next(where.parts for where in allocation.placements if where.holds(fullest))
        parts = {**parts, "active blocks": fullest.bytes - sum(parts.values())}
        largest = max(parts, key=lambda name: parts[name])
        budget, peak = fullest.budget_bytes, peak_of(fullest)
        rows.append(
            Budget(
                kind=kind,
                clients=len(clients),
                client=fullest.client,
                frozen=fullest.frozen,
                master=fullest.master,
                format=fullest.format,
                peak_bytes=peak,
                source="measured" if fullest.client in peaks else allocation.bytes_source,
                budget_bytes=budget,
                share=None if budget is None else peak / budget,
                largest_part=largest,
                largest_part_bytes=parts[largest],
            )
        )
    return tuple(rows)
