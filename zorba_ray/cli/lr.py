"""`zorba-ray lr`: finds a learning rate by a few rounds at each of several rates."""

import math
from typing import TYPE_CHECKING

import typer

from zorba_ray.cli.terminal import say

if TYPE_CHECKING:
    from zorba_ray.cli.terminal import Console
    from zorba_ray.experiment.lr_finder import Ladder, Step

_WIDTH = 32
"""Characters of the longest bar."""
_BLOWN = 0.3
"""If the loss rises by more than this share of the start's loss, it is not noise."""


def lr(
    config: str = typer.Argument(help="A YAML file, or a preset (demo)."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. zo.directions=4."),
    rates: str = typer.Option(None, "--rates", help="Rates, with commas between (default: from zo.lr up and down)."),
    json_out: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Find a learning rate: take the steps of four rounds at once, at several rates, from the same start."""
    import dataclasses
    import json

    from zorba_ray.cli.terminal import Console
    from zorba_ray.config import anchored, load_config
    from zorba_ray.experiment.lr_finder import find_rate

    console = Console()
    settings = anchored(load_config(config, overrides))
    with console.status("running rounds"):
        ladder = find_rate(settings, _numbers(rates))
    if json_out:
        say(
            json.dumps({**dataclasses.asdict(ladder), "lowest": ladder.lowest, "suggested": ladder.suggested}, indent=1)
        )
        return
    print_ladder(console, ladder)


def print_ladder(console: "Console", ladder: "Ladder") -> None:
    """Prints a table with a bar per rate, and the suggested rate."""
    from zorba_ray.experiment.rounds_at_start import ROUNDS
    from zorba_ray.tables import Column, Table
    from zorba_ray.tables.text import text_loss

    largest = max((-step.change for step in ladder.steps if step.change is not None and step.change < 0), default=1.0)

    def curve(step: "Step") -> str:
        if step.change is None:
            return "destroys the model"
        if step.change >= 0:
            return "blows up" if step.change > _BLOWN * ladder.start_loss else "rises"
        return "█" * math.ceil(_WIDTH * -step.change / largest) + ("  ◀" if step.lr == ladder.lowest else "")

    table = Table(
        f"validation loss {ladder.start_loss:.4f} at the start; after the steps of {ROUNDS} rounds of "
        f"{ladder.clients} clients at once",
        ladder.steps,
        [
            Column("zo.lr", lambda step: step.lr, "{:.3g}".format),
            Column("loss", lambda step: step.loss, text_loss),
            Column("change", lambda step: step.change, "{:+.4f}".format),
            Column("", curve),
        ],
    )
    console.print(table.terminal(console.width))
    console.print(
        f"{ladder.passes:,} forward passes of all clients, and {ladder.rows:,} validation rows for each of "
        f"{len(ladder.steps)} rates"
    )
    if ladder.suggested is None:
        console.print("no rate lowers the loss: try smaller ones (--rates), or more directions (zo.directions)")
    else:
        console.print(f"use zo.lr={ladder.suggested:.3g} for a run of {ladder.rounds:,} rounds; longer ones need less")


def _numbers(text: str | None) -> list[float] | None:
    from zorba_ray.errors import ConfigError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--rates={text}: numbers with commas between are expected, as in 0.001,0.01") from error
