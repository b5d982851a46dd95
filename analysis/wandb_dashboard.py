"""The W&B workspace of a project, as code: what a run is judged by, and sweeps side by side.

python -m analysis.wandb_dashboard --project zorba-ray --dry-run          # prints the view's specification (JSON)
python -m analysis.wandb_dashboard --project zorba-ray --entity me        # saves it as a view; needs a W&B key

Needs `pip install zorba-ray[workspaces]`. A dry run needs neither a key nor a network.
"""

import argparse
import json
import sys
from typing import Any

from zorba_ray.experiment.tracking import has_credentials

LINES: dict[str, dict[str, tuple[str, ...]]] = {
    "Learning": {
        "validation loss": ("eval/validation/loss",),
        "validation accuracy": ("eval/validation/accuracy",),
        "training loss, mean over clients": ("round/loss",),
        "training loss of each client": (r"round/client_loss/\d+",),
        "test loss": ("eval/test/loss",),
        "distance from the start, ‖θ − θ0‖": ("round/distance",),
    },
    "Scalars": {
        "spread of ρ: root mean square": ("round/scalar_rms",),
        "mean of ρ": ("round/scalar_mean",),
        "rate η": ("round/lr",),
    },
    "Bytes": {
        "bytes per round, all clients": ("round/bytes_up", "round/bytes_down"),
        "frames": ("round/report_bytes", "round/plan_bytes", "round/commit_bytes"),
    },
    "Memory": {"peak memory of the driver's process, bytes": ("round/peak_rss_bytes",)},
    "Clients": {
        "clients per round": ("round/clients_ok", "round/clients_failed", "round/clients_late"),
        "rejected reports": ("round/rejected",),
    },
    "Time": {
        "seconds per round": ("round/time/round_s",),
        "seconds by part": tuple(f"round/time/{part}_s" for part in ("clients", "aggregate", "commit", "apply")),
        "seconds per evaluation": ("eval/validation/eval_s",),
    },
    "Sweeps": {},
}
"""Section -> title of a panel -> metrics against the round; one with a backslash is a regular expression."""
LOGARITHMIC = {"spread of ρ: root mean square", "rate η", "bytes per round, all clients", "seconds by part"}
SCATTERS: dict[str, dict[str, tuple[str, str]]] = {
    "Memory": {"worst share of a budget against the fleet's bytes": ("vram/fleet_bytes", "vram/worst_share")},
    "Sweeps": {
        "validation loss against the fleet's memory": ("vram/fleet_bytes", "summary/final_loss"),
        "test accuracy against the fleet's memory": ("vram/fleet_bytes", "summary/test_accuracy"),
        "validation loss against f1": ("allocation/f1", "summary/final_loss"),
    },
}
"""Section -> title -> summary metrics across and up, one point per run."""
MEDIA = {"Memory": [("allocation/table",)]}
"""Section -> panels of pictures and tables."""
PARALLEL_SETTINGS = ("allocation.epsilon", "zo.lr", "zo.directions", "seed")
PARALLEL_RESULTS = ("allocation/f1", "vram/fleet_bytes", "summary/bytes_up_per_client_round", "summary/final_loss")
"""Of the parallel coordinates of the section Sweeps: settings and summary metrics."""


def build(project: str, entity: str, group: str | None = None) -> Any:
    """The workspace (`wandb_workspaces.workspaces.Workspace`), not saved; `group` shows one sweep's runs only.

    Raises:
        ImportError: wandb-workspaces is missing.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2.interface import ParallelCoordinatesPlotColumn as Column

    def lines(title: str, metrics: tuple[str, ...]) -> Any:
        found = {"metric_regex": metrics[0]} if "\\" in metrics[0] else {"y": list(metrics)}
        return wr.LinePlot(title=title, x="round", log_y=title in LOGARITHMIC or None, **found)

    def panels(section: str) -> list[Any]:
        title, media = "who activates which blocks", MEDIA.get(section, [])
        return [
            *(wr.MediaBrowser(title=title, media_keys=list(keys)) for keys in media),
            *(lines(title, metrics) for title, metrics in LINES[section].items()),
            *(
                wr.ScatterPlot(title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y))
                for title, (x, y) in SCATTERS.get(section, {}).items()
            ),
        ]

    columns = [*map(wr.Config, PARALLEL_SETTINGS), *map(wr.SummaryMetric, PARALLEL_RESULTS)]
    parallel = wr.ParallelCoordinatesPlot(
        title="settings and results", columns=[Column(metric=metric) for metric in columns]
    )
    sections = [
        ws.Section(name=name, panels=panels(name) + [parallel] * (name == "Sweeps"), is_open=True) for name in LINES
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
