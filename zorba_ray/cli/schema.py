"""`zorba-ray schema`: lists all settings, as text or as a JSON schema for editors."""

import os
import sys

import typer

from zorba_ray.cli.terminal import say


def schema(
    part: str = typer.Argument(None, help="Only this setting (zo.scope), section (zo), or part of a name (lora)."),
    as_json: bool = typer.Option(False, "--json", help="Print the JSON schema of all settings, for editors."),
) -> None:
    """List the settings with their default, possible values and meaning. In a pipe, each is one line."""
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.config.listing import listed_settings
    from zorba_ray.errors import ConfigError

    if as_json:
        import json

        if part is not None:
            raise ConfigError(f"--json prints all settings: drop {part!r}")
        say(json.dumps(ExperimentConfig.model_json_schema(), indent=1))
        return
    from rich.padding import Padding
    from rich.text import Text

    from zorba_ray.cli.terminal import Console

    console = Console()
    for setting in listed_settings(part):
        if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
            say(f"{setting.key} = {setting.default}  [{setting.values}]  {setting.meaning}")
            continue
        console.print(Text.assemble((setting.key, "bold"), f" = {setting.default}"), soft_wrap=True)
        for line in filter(None, (setting.values, setting.meaning)):
            console.print(Padding(Text(line), (0, 0, 0, 4)))
