"""The W&B workspace of a project, as code: what a run is judged by, and sweeps side by side.

python -m analysis.wandb_dashboard --project zorba-ray --dry-run          # prints the view's specification (JSON)
python -m analysis.wandb_dashboard --project zorba-ray --entity me        # saves it as a view; needs a W&B key

Needs `pip install zorba-ray[workspaces]`. A dry run needs neither a key nor a network.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

from zorba_ray.experiment.tracking import has_credentials


@dataclass(frozen=True)
class Lines:
    """History against the round; `pattern` is a regular expression for metrics whose number varies."""

    title: str
    metrics: tuple[str, ...] = ()
    pattern: str | None = None
    log: bool = False


@dataclass(frozen=True)
class Scatter:
    """One point per run: summary metrics."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Parallel:
    """One line per run through settings (dotted) and summary metrics."""

    title: str
    settings: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Media:
    """Pictures and tables."""

    title: str
    keys: tuple[str, ...]


Panel = Lines | Scatter | Parallel | Media

SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Learning": (
        Lines("validation loss", ("eval/validation/loss",)),
        Lines("validation accuracy", ("eval/validation/accuracy",)),
        Lines("training loss, mean over clients", ("round/loss",)),
        Lines("training loss of each client", pattern=r"round/client_loss/\d+"),
        Lines("test loss", ("eval/test/loss",)),
        Lines("distance from the start, ‖θ − θ0‖", ("round/distance",)),
    ),
    "Scalars": (
        Lines("spread of ρ: root mean square", ("round/scalar_rms",), log=True),
        Lines("mean of ρ", ("round/scalar_mean",)),
        Lines("rate η", ("round/lr",), log=True),
    ),
    "Bytes": (
        Lines("bytes per round, all clients", ("round/bytes_up", "round/bytes_down"), log=True),
        Lines("frames", ("round/report_bytes", "round/plan_bytes", "round/commit_bytes")),
    ),
    "Memory": (
        Media("who activates which blocks", ("allocation/table",)),
        Lines("peak memory of the driver's process, bytes", ("round/peak_rss_bytes",)),
        Scatter("worst share of a budget against the fleet's bytes", "vram/fleet_bytes", "vram/worst_share"),
    ),
    "Clients": (
        Lines("clients per round", ("round/clients_ok", "round/clients_failed", "round/clients_late")),
        Lines("rejected reports", ("round/rejected",)),
    ),
    "Time": (
        Lines("seconds per round", ("round/time/round_s",)),
        Lines(
            "seconds by part",
            ("round/time/clients_s", "round/time/aggregate_s", "round/time/commit_s", "round/time/apply_s"),
            log=True,
        ),
        Lines("seconds per evaluation", ("eval/validation/eval_s",)),
    ),
    "Sweeps": (
        Parallel(
            "settings and results",
            ("allocation.epsilon", "zo.lr", "zo.directions", "seed"),
            ("allocation/f1", "vram/fleet_bytes", "summary/bytes_up_per_client_round", "summary/final_loss"),
        ),
        Scatter("validation loss against the fleet's memory", "vram/fleet_bytes", "summary/final_loss"),
        Scatter("test accuracy against the fleet's memory", "vram/fleet_bytes", "summary/test_accuracy"),
        Scatter("validation loss against f1", "allocation/f1", "summary/final_loss"),
    ),
}


def build(project: str, entity: str, group: str | None = None) -> Any:
    """The workspace (`wandb_workspaces.workspaces.Workspace`), not saved; `group` shows one sweep's runs only.

    Raises:
        ImportError: wandb-workspaces is missing.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2.interface import ParallelCoordinatesPlotColumn as Column

    def panel(spec: Panel) -> Any:
        match spec:
            case Lines():
                return wr.LinePlot(
                    title=spec.title, x="round", y=list(spec.metrics), metric_regex=spec.pattern, log_y=spec.log or None
                )
            case Scatter():
                return wr.ScatterPlot(title=spec.title, x=wr.SummaryMetric(spec.x), y=wr.SummaryMetric(spec.y))
            case Parallel():
                metrics = [*map(wr.Config, spec.settings), *map(wr.SummaryMetric, spec.results)]
                columns = [Column(metric=metric) for metric in metrics]
                return wr.ParallelCoordinatesPlot(title=spec.title, columns=columns)
            case Media():
                return wr.MediaBrowser(title=spec.title, media_keys=list(spec.keys))

    sections = [
        ws.Section(name=name, panels=[panel(spec) for spec in panels], is_open=True)
        for name, panels in SECTIONS.items()
    ]
    runs = ws.RunsetSettings(filters=[ws.Metric("Group") == group] if group else [])
    return ws.Workspace(name="zorba-ray", project=project, entity=entity, sections=sections, runset_settings=runs)


def main() -> None:
    """Prints or saves the workspace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="zorba-ray", help="W&B project [default: zorba-ray]")
    parser.add_argument("--entity", help="W&B user or team")
    parser.add_argument("--group", help="show the runs of one group, such as a sweep's name")
    parser.add_argument("--dry-run", action="store_true", help="print the specification, save nothing")
    arguments = parser.parse_args()
    if not arguments.dry_run:
        if not arguments.entity:
            parser.error("--entity is needed: the W&B user or team that the project belongs to (or use --dry-run)")
        if not has_credentials():
            parser.error("no W&B key: set WANDB_API_KEY or use `wandb login` (or use --dry-run)")
    try:
        workspace = build(arguments.project, arguments.entity or "ENTITY", arguments.group)
    except ImportError as error:
        sys.exit(f"error: {error.name or error} is missing: pip install zorba-ray[workspaces]")
    if arguments.dry_run:
        view = workspace._to_model()  # the package has no public way to see what it would send
        print(json.dumps(view.model_dump(mode="json", by_alias=True, exclude_none=True), indent=1, ensure_ascii=False))
    else:
        workspace.save()


if __name__ == "__main__":
    main()
