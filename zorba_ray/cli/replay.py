"""`zorba-ray replay`: rebuilds θ from the base weights and the ledger."""

from pathlib import Path

import typer

from zorba_ray.cli.terminal import say


def replay(
    run_dir: Path = typer.Argument(help="A run directory."),
    round: int = typer.Option(
        None, "--round", min=0, help="Stop after this round (default: the last one, or the best with eval.keep=best)."
    ),
    export: Path = typer.Option(
        None,
        "--export",
        help="Write the model to this folder, in Hugging Face format; if only adapters were trained, in PEFT format.",
    ),
    merged: bool = typer.Option(False, "--merged", help="Export adapters merged into the base model."),
    model: str = typer.Option(
        None, "--model", help="The base model, if it was moved (default: model.path of the run)."
    ),
    verify: Path = typer.Option(
        None, "--verify", metavar="KEYFILE", help="Check who sent each report, by the run's reports.key."
    ),
) -> None:
    """Rebuild a run's weights θ from its ledger, print their SHA-256, and export them with --export.

    If the ledger ends before the last round in summary.json, this is an error; --round replays the rounds that it has.
    """
    from zorba_ray.experiment.replay import replay_run
    from zorba_ray.units import format_bytes, format_seconds

    if verify is not None:
        from zorba_ray.experiment.verify import verify_reports

        verified = verify_reports(run_dir, verify, round)
        say(f"{verified.reports:,} reports of {verified.rounds:,} rounds: each is of its client, and answers its plan")
    result = replay_run(run_dir, round, export, model, merged)
    say(
        f"round {result.round} of {result.last_round}, ledger {format_bytes(result.ledger_bytes)}, "
        f"{format_seconds(result.seconds)}"
    )
    if result.torn_bytes:
        say(f"after it {result.torn_bytes} bytes of a record that was cut off; a resume removes them")
    if result.remark:
        say(result.remark)
    comparison = "as in the run's summary" if result.confirmed else "not compared: summary.json has none of this round"
    say(f"θ SHA-256 {result.digest} ({comparison})")
    if export is not None:
        say(f"exported to {export}{', as a PEFT adapter (--merged: the whole model)' if result.adapter else ''}")
