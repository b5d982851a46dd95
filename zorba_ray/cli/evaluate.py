"""`zorba-ray evaluate`: the figures of a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zorba_ray.cli.allowed_code import ALLOW_CODE, allowed_reward
from zorba_ray.cli.terminal import say

if TYPE_CHECKING:
    from zorba_ray.artifacts import Eval
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.experiment.asked import Evaluated
    from zorba_ray.tables import Table

MODEL = "A run directory. With --config: a model's folder, one of adapters, a .gguf file, package:NAME or a hub id."


def evaluate(
    source: str = typer.Argument(metavar="RUN", help=MODEL),
    overrides: list[str] = typer.Argument(None, help="With --config: settings as key=value."),
    round: int = typer.Option(None, "--round", min=0, help="After this round (default: the one that is kept)."),
    data: Path = typer.Option(
        None, "--data", help="A file of rows with labels (default: validation and test rows of the run)."
    ),
    config: str = typer.Option(None, "--config", help="Of what is no run: a YAML file or preset with task and prompt."),
    model: str = typer.Option(None, "--model", help="Where the base model is now (default: model.path of the run)."),
    allow_code: list[str] = ALLOW_CODE,
    json_out: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Measure a model: loss, accuracy and the other figures of a run, with rows and 95 % intervals."""
    import json

    from zorba_ray.cli.terminal import Console
    from zorba_ray.experiment.asked import evaluate_model
    from zorba_ray.experiment.trained import task_settings

    settings = run_file(config, overrides)
    asked = task_settings(source, round, settings, model)
    reward = allowed_reward(asked, config or "", allow_code)
    found = evaluate_model(source, round, data, settings, model, reward)
    if json_out:
        records = [{key: value for key, value in record.tree().items() if key != "kind"} for record in found.evals]
        say(json.dumps({"evals": records, "notes": list(notes(found))}, indent=1))
        return
    console = Console()
    console.print(figures_table(source, found).terminal(console.width))
    for note in notes(found):
        say(note)


def run_file(config: str | None, overrides: list[str] | None) -> "ExperimentConfig | None":
    """The settings of `--config`; None without.

    Raises:
        ConfigError: settings without a file that they could change, or what `load_config` refuses.
    """
    from zorba_ray.config import anchored, load_config
    from zorba_ray.errors import ConfigError

    if config is None and overrides:
        raise ConfigError(f"{overrides[0]}: settings are of a model with --config; a run has its own")
    return None if config is None else anchored(load_config(config, overrides))


def figures_table(source: str, found: "Evaluated") -> "Table[tuple[Eval, str]]":
    """A row per split and figure."""
    from zorba_ray.artifacts import Eval
    from zorba_ray.tables import Column, Table
    from zorba_ray.tables.text import figure_name, text_figure, text_span

    rows = [(record, name) for record in found.evals for name in Eval.FIGURES if getattr(record, name) is not None]

    def span(row: "tuple[Eval, str]") -> str | None:
        interval = row[0].intervals.get(row[1])
        return None if interval is None else text_span(row[1], interval.low, interval.high)

    columns: list[Column[tuple[Eval, str]]] = [
        Column("split", lambda row: row[0].split),
        Column("figure", lambda row: figure_name(row[1])),
        Column("value", lambda row: text_figure(row[1], getattr(*row)), str),
        Column("95 % interval", span, str),
        Column("rows", lambda row: row[0].rows, "{:,}".format),
    ]
    if any(record.majority for record in found.evals):
        most = Column[tuple["Eval", str]](
            "majority class", lambda row: text_figure(row[1], row[0].majority.get(row[1])), str, keep=-1
        )
        columns.append(most)
    when = f", round {found.trained.round}" if found.trained.run is not None else ""
    return Table(f"{source}{when}", rows, columns)


def notes(found: "Evaluated") -> "list[str]":
    """What is to be said below the figures."""
    same = found.recorded()
    said = list(found.trained.remarks)
    if same and all(same.values()):
        said.append("loss and accuracy are those that the run recorded, to the bit")
    elif same:
        others = " and ".join(split for split, equal in same.items() if not equal)
        said.append(
            f"the run recorded another loss or accuracy of its {others} rows after this round: other rows, another "
            "kind of machine, or other versions (provenance.json)"
        )
    return said
