"""summary.json: the run in one object, computed from its records."""

from collections.abc import Sequence
from typing import Any

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


def summarise(
    config: ExperimentConfig,
    allocation: dict[str, Any],
    rounds: Sequence[dict[str, Any]],
    evals: Sequence[dict[str, Any]],
    session: dict[str, Any],
) -> dict[str, Any]:
    """Headline figures of a run.

    Args:
        rounds, evals: records of metrics.jsonl.
        session: what only this session knows (status, warnings, rows that were cut, digest, times of this session, peak
            memory, client -> measured VRAM peak).

    Byte figures are per client and round: a report's frame up; a plan's and a commit's frame down, active sets left
    out. Probes are counted apart, for all clients together.
    """
    validation = [record for record in evals if record["split"] == "validation"]
    test = {record["round"]: record for record in evals if record["split"] == "test"}
    first, last = (validation[0], validation[-1]) if validation else ({}, {})
    counted = [record for record in rounds if "report_bytes" in record]  # not those rebuilt from the ledger alone
    reports = sum(record["clients_ok"] + len(record["rejected"]) for record in counted)
    done = len(rounds)
    pairs = 0 if config.spec.backward else config.zo.directions * config.zo.local_steps
    return {
        "status": session["status"],
        "error": session["error"],
        "warnings": session["warnings"],
        "method": config.method,
        "rounds": config.rounds,
        "rounds_done": done,
        "start_loss": first.get("loss"),
        "final_loss": last.get("loss"),
        "start_accuracy": first.get("accuracy"),
        "final_accuracy": last.get("accuracy"),
        "start_test_accuracy": test.get(0, {}).get("accuracy"),
        "test_accuracy": test.get(config.rounds, {}).get("accuracy"),
        "start_test_loss": test.get(0, {}).get("loss"),
        "test_loss": test.get(config.rounds, {}).get("loss"),
        "cut_rows": session["cut_rows"],
        "weights_sha256": session["weights_sha256"],
        "distance": next((r["distance"] for r in reversed(rounds) if r.get("distance") is not None), None),
        "bytes_up_per_client_round": _ratio(sum(r["report_bytes"] for r in counted), reports),
        "bytes_down_per_client_round": _ratio(sum(r["plan_bytes"] + r["commit_bytes"] for r in counted), len(counted)),
        "active_set_bytes": sum(r.get("active_set_bytes", 0) for r in rounds),
        "ledger_bytes": session["ledger_bytes"],
        "forward_pairs_per_client": pairs * done,
        "forward_passes_per_client": config.passes_per_round * done,
        "peak_rss_bytes": session["peak_rss_bytes"],
        "vram_bytes_per_client": {
            "source": allocation["bytes_source"],
            "accelerator": allocation["accelerator"],
            "clients": [
                {key: client[key] for key in ("client", "bytes", "budget_bytes")} for client in allocation["clients"]
            ],
            "all_active": allocation["bytes_all_active"],
        },
        "budgets": budget_rows(allocation, session["vram_peaks"]),
        "allocation_gap": allocation["gap"],
        "deals": len(allocation["deals"]),
        "probes": len(allocation["probes"]),
        "probe_forward_pairs": sum(probe["forward_pairs"] for probe in allocation["probes"]),
        "probe_bytes_up": sum(probe["bytes_up"] for probe in allocation["probes"]),
        "probe_bytes_down": sum(probe["bytes_down"] for probe in allocation["probes"]),
        "clients_failed": sum(r.get("clients_failed", 0) for r in rounds),
        "clients_late": sum(r.get("clients_late", 0) for r in rounds),
        "clients_rejected": sum(len(r.get("rejected") or {}) for r in rounds),
        "retries": session["retries"],
        "workers": session["workers"],
        "resumed_after_round": session["resumed_after_round"],
        "wall_s": session["wall_s"],
        "cpu_s": session["cpu_s"],
    }


def _ratio(total: float, count: int) -> float | None:
    return total / count if count else None
