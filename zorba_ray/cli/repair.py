"""`zorba-ray repair`: heals a damaged run directory, or takes a run back to an earlier round."""

from pathlib import Path

import typer

from zorba_ray.cli.terminal import say


def repair(
    run_dir: Path = typer.Argument(help="A run directory."),
    rollback_to: int = typer.Option(
        None, "--rollback-to", min=0, help="Take the run back to this round on purpose; a resume goes on from there."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what is damaged and what would be done."),
) -> None:
    """Say what is damaged in a run directory, and repair it.

    Copies of all that is changed are kept in the directory. Rounds that are lost are computed again by
    `zorba-ray run FILE --resume`, which gives the same bytes.
    """
    from zorba_ray.experiment.repair import diagnose, repair_run
    from zorba_ray.units import format_seconds

    diagnosis, copies = (diagnose(run_dir, rollback_to), None) if dry_run else repair_run(run_dir, rollback_to)
    if not diagnosis.faults:
        say(f"{run_dir}: nothing is damaged; the ledger ends at round {diagnosis.contents.last_round}")
        return
    for fault in diagnosis.faults:
        say(f"{fault.file.relative_to(run_dir)}: {fault.text} → {fault.remedy}")
    say(f"the ledger {'would end' if dry_run else 'ends'} at round {diagnosis.contents.last_round}")
    if diagnosis.lost:
        took = f", which took {format_seconds(diagnosis.lost_s)}" if diagnosis.lost_s else ""
        say(f"lost: rounds {diagnosis.lost.start} to {diagnosis.lost.stop - 1}{took}; a resume computes them again")
    if copies is not None:
        say(f"what was changed is kept as it was in {copies}")
