"""The command `zorba-ray doctor`: runs the checks and prints their findings.

The exit code is that of the first fault. If settings, model, data or allocation are refused, it is the exit code that a
run would have; else it is 4.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zorba_ray.cli.allowed_code import ALLOW_CODE
from zorba_ray.cli.doctor import Finding

if TYPE_CHECKING:
    from zorba_ray.config import ExperimentConfig


def doctor(
    config: str = typer.Argument(None, help="A run file, a sweep file or a preset. It is loaded as a run would."),
    address: str = typer.Option(
        None,
        "--address",
        help="Cluster to check: http://HOST:8265 (jobs) or HOST:6379 (default: RAY_API_SERVER_ADDRESS or RAY_ADDRESS).",
    ),
    working_dir: Path = typer.Option(None, "--working-dir", help="Folder that `ray job submit` will upload."),
    allow_code: list[str] = ALLOW_CODE,
) -> None:
    """Check this machine, your file and a cluster before a run. Every fault comes with its remedy."""
    from zorba_ray.cli.terminal import Console

    console = Console(soft_wrap=True)
    colours = {"ok": "green", "note": "yellow", "fault": "red"}
    code = 0
    for finding in _findings(config, address, working_dir, allow_code):
        if finding.level == "fault":
            code = code or finding.exit_code
        console.print(f"{finding.level:<5} ", style=colours[finding.level], end="")
        console.print(finding.what + (f" → {finding.remedy}" if finding.remedy else ""))
    if code:
        raise typer.Exit(code)


def read_settings(source: str) -> "tuple[ExperimentConfig, list[Path]]":
    """(settings of the run, files with these settings). The files are a run file, or a sweep file with its run file;
    none for a preset.

    Raises:
        ConfigError: the settings are refused.
    """
    import os

    from zorba_ray.config import config_from_tree, load_sweep, presets
    from zorba_ray.config.loading import load_tree

    files = [] if source in presets() else [Path(source)]
    tree = load_tree(source)
    if "space" in tree:
        sweep, tree = load_sweep(source)
        run_file = Path(source).parent / sweep.run
        files += [run_file] if os.path.isfile(run_file) else []
    return config_from_tree(tree, source), files


def _findings(
    source: str | None, address: str | None, working_dir: Path | None, allow_code: list[str] | None
) -> Iterator[Finding]:
    from zorba_ray.cli.doctor import cluster, loads, machine, upload
    from zorba_ray.errors import ConfigError

    config, files = None, []
    if source is not None:
        try:
            config, files = read_settings(source)
            yield Finding("ok", f"{source}: settings are valid")
        except ConfigError as error:
            remedy = "correct the settings; `zorba-ray schema` lists all settings"
            yield Finding("fault", str(error), remedy, error.exit_code)
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "versions": machine.versions,
        "solver": machine.solver,
        "kernels": machine.kernels,
        "accelerators": machine.accelerators,
        "W&B": lambda: machine.wandb("auto" if config is None else config.tracking.wandb),
        "disk": machine.disk,
        "shared memory": machine.shared_memory,
        "cluster": lambda: cluster.check_cluster(address, config),
    }
    if config is not None and source is not None and working_dir is None:  # the paths of an upload are on the cluster
        checks["model and data"] = lambda: loads.check_loading(config, source, allow_code)
    if working_dir is not None:
        checks["upload"] = lambda: upload.check_upload(working_dir, config, files)
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:  # a check that fails is itself a finding
            yield Finding("fault", f"{name}: {type(error).__name__}: {error}", "reinstall with `make install`")
