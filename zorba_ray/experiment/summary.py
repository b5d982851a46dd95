"""The figures of summary.json that follow from a run's records."""

from collections.abc import Mapping, Sequence
from typing import Any

from zorba_ray.artifacts import Budget, Eval, Round, record_of
from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Diverged, Interrupted, LostClients
from zorba_ray.experiment.budgets import budget_rows

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
) -> dict[str, Any]:
    """The fields of `Summary` that follow from a run's records; the others only its session knows.

    Args:
        rounds, evals: in file order.
        vram_peaks: client -> bytes measured on a real GPU.
    """
    validation = [record for record in evals if record.split == "validation"]
    test = {record.round: record for record in evals if record.split == "test"}
    ends = {
        "start": validation[0] if validation else None,
        "final": validation[-1] if validation else None,
        "start_test": test.get(0),
        "test": test.get(config.rounds),
    }
    counted = [record for record in rounds if record.report_bytes is not None]  # not those rebuilt from the ledger
    reports = sum((record.clients_ok or 0) + len(record.rejected) for record in counted)
    up = sum(record.report_bytes or 0 for record in counted)
    down = sum((record.plan_bytes or 0) + (record.commit_bytes or 0) for record in counted)
    pairs = 0 if config.spec.backward else config.zo.directions * config.zo.local_steps
    probes = allocation.probes
    return {
        "method": config.method,
        "rounds": config.rounds,
        "rounds_done": len(rounds),
        **{f"{name}_loss": record and record.loss for name, record in ends.items()},
        **{f"{name}_accuracy": record and record.accuracy for name, record in ends.items()},
        "distance": next((record.distance for record in reversed(rounds) if record.distance is not None), None),
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
        "budgets": tuple(record_of(Budget, row, "budgets") for row in budget_rows(allocation, vram_peaks)),
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
