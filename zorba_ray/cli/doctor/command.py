"""The command: runs the checks, prints their findings; exit code 2 where the settings are refused, 4 where something
else is a fault."""

from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from zorba_ray.cli.doctor.finding import Finding


def doctor(
    config: str = typer.Argument(None, help="A run or sweep file, or a preset, that is to run."),
    address: str = typer.Option(
        None,
        "--address",
        help="Cluster to ask: http://HOST:8265 (jobs) or HOST:6379; else RAY_API_SERVER_ADDRESS or RAY_ADDRESS.",
    ),
    working_dir: Path = typer.Option(None, "--working-dir", help="Folder that `ray job submit` is to upload."),
) -> None:
    """Check this machine, a cluster and an upload before a run; every fault comes with its remedy."""
    from zorba_ray.cli.terminal import Console

    console = Console(soft_wrap=True)
    colours = {"ok": "green", "note": "yellow", "fault": "red"}
    code = 0
    for finding in _findings(config, address, working_dir):
        if finding.level == "fault":
            code = code or finding.exit_code
        console.print(f"{finding.level:<5} ", style=colours[finding.level], end="")
        line = finding.what + (f" → {finding.remedy}" if finding.remedy else "")
        console.print(line)
    if code:
        raise typer.Exit(code)


def _findings(config: str | None, address: str | None, working_dir: Path | None) -> Iterator[Finding]:
    from zorba_ray.cli.doctor import cluster, machine, settings, upload

    plan = None
    if config is not None:
        plan, findings = settings.read(config)
        yield from findings
    for check in (machine.python, machine.packages, machine.solver, machine.kernels, machine.accelerators):
        yield from _guarded(check)
    yield from _guarded(lambda: machine.wandb("auto" if plan is None else plan.config.tracking.wandb), "W&B")
    yield from _guarded(machine.disk)
    yield from _guarded(machine.shared_memory)
    yield from _guarded(lambda: cluster.check(address, None if plan is None else plan.config), "cluster")
    if working_dir is not None:
        yield from _guarded(lambda: upload.check(working_dir, plan), "upload")


def _guarded(check: Callable[[], Iterator[Finding]], name: str = "") -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # a check that fails is itself a finding
        yield Finding(
            "fault", f"{name or check.__name__}: {type(error).__name__}: {error}", "reinstall with `make install`"
        )
