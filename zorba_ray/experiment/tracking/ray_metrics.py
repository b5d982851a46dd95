"""Exports a run's records as Ray metrics, on the metrics port of the node (cluster/grafana_dashboard.json).

Ray adds the prefix `ray_` to names and `_total` to counters. A node exports every few seconds, and drops a gauge that
is not set again; so each round sets all gauges. The last seconds of a run may be missing here: metrics.jsonl has the
full record.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from zorba_ray.experiment.tracking.fanout import Monitor


class Series(NamedTuple):
    """One exported metric. `tags` come after `run`."""

    kind: str
    help: str
    tags: tuple[str, ...] = ()


SERIES = {
    "zorba_round": Series("gauge", "Last committed round"),
    "zorba_rounds": Series("gauge", "Rounds of the run"),
    "zorba_loss": Series("gauge", "Mean training loss of the round, weighted by examples"),
    "zorba_eval_loss": Series("gauge", "Loss of the last evaluation", ("split",)),
    "zorba_eval_accuracy": Series("gauge", "Accuracy of the last evaluation", ("split",)),
    "zorba_scalar_rms": Series("gauge", "Root mean square of the round's projected gradients"),
    "zorba_distance": Series("gauge", "Distance of theta from its start, over the tensors in scope"),
    "zorba_lr": Series("gauge", "Learning rate of the round"),
    "zorba_phase_seconds": Series(
        "gauge", "Seconds of the last round by part: clients, aggregate, commit, apply, round", ("part",)
    ),
    "zorba_clients": Series("counter", "Answers of clients by outcome: ok, failed, late, rejected", ("outcome",)),
    "zorba_bytes_up": Series("counter", "Bytes of all reports"),
    "zorba_bytes_down": Series("counter", "Bytes of plans and commits to all clients"),
    "zorba_client_loss": Series("gauge", "Training loss of a client in the round", ("client",)),
    "zorba_client_bytes": Series("gauge", "Bytes that a client holds, modelled or measured", ("client",)),
    "zorba_client_budget_bytes": Series("gauge", "VRAM budget of a client", ("client",)),
}
"""Every metric that a run exports."""

MAX_CLIENTS = 64
"""Most clients with metrics of their own: a metrics server keeps every series that it has ever seen."""


def exported_name(name: str) -> str:
    """The name on the metrics port and in PromQL."""
    return f"ray_{name}" + ("_total" if SERIES[name].kind == "counter" else "")


def ray_monitors() -> list[Monitor]:
    """A `RayMetricsMonitor` if this process is connected to Ray, else nothing. It does not import Ray."""
    ray = sys.modules.get("ray")
    return [RayMetricsMonitor()] if ray is not None and ray.is_initialized() else []


class RayMetricsMonitor:
    """Sets gauges and counters from the records of one run; tag `run` is NAME-ID, ID the start of its run id."""

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds = {"gauge": Gauge, "counter": Counter}
        self._gauges: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        """(name, tags) -> value."""
        self._run = f"{config['name']}-{provenance['run_id'][:8]}"
        self._metrics: dict[str, Any] = {
            name: kinds[series.kind](name, series.help, ("run", *series.tags)) for name, series in SERIES.items()
        }
        self._set("zorba_rounds", config["rounds"])

    def log(self, record: dict[str, Any]) -> None:
        if record["kind"] == "eval":
            self._set("zorba_eval_loss", record["loss"], split=record["split"])
            self._set("zorba_eval_accuracy", record["accuracy"], split=record["split"])
        elif record["kind"] == "round":
            self._round(record)

    def _round(self, record: dict[str, Any]) -> None:
        for (name, tags), value in self._gauges.items():
            self._metrics[name].set(value, dict(tags))
        for name in ("round", "loss", "scalar_rms", "distance", "lr"):
            self._set(f"zorba_{name}", record[name])
        for part, seconds in record["time"].items():
            self._set("zorba_phase_seconds", seconds, part=part.removesuffix("_s"))
        for outcome in ("ok", "failed", "late"):
            self._add("zorba_clients", record[f"clients_{outcome}"], outcome=outcome)
        self._add("zorba_clients", len(record["rejected"]), outcome="rejected")
        self._add("zorba_bytes_up", record["bytes_up"])
        self._add("zorba_bytes_down", record["bytes_down"])
        for client, loss in list((record.get("client_loss") or {}).items())[:MAX_CLIENTS]:
            self._set("zorba_client_loss", loss, client=client)

    def artifact(self, path: Path, kind: str) -> None:
        if kind != "allocation":
            return
        clients = json.loads(path.read_text(encoding="utf-8"))["clients"]
        for client in clients[:MAX_CLIENTS]:
            self._set("zorba_client_bytes", client["bytes"], client=str(client["client"]))
            self._set("zorba_client_budget_bytes", client["budget_bytes"], client=str(client["client"]))

    def finish(self, summary: dict[str, Any]) -> str | None:
        """Nothing to do: the metrics end with this process."""
        return None

    def _set(self, name: str, value: float | None, **tags: str) -> None:
        if value is not None:
            tags["run"] = self._run
            self._gauges[name, frozenset(tags.items())] = float(value)
            self._metrics[name].set(float(value), tags)

    def _add(self, name: str, value: float, **tags: str) -> None:
        if value > 0:  # Ray refuses to add nothing
            self._metrics[name].inc(value, {"run": self._run, **tags})
