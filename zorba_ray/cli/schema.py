"""`zorba-ray schema`: every setting, for people and editors."""

import os
import sys

import typer

from zorba_ray.cli.terminal import say


def schema(
    part: str = typer.Argument(None, help="A setting (zo.scope), a section (zo), or a part of a name (lora)."),
    as_json: bool = typer.Option(False, "--json", help="The JSON schema of all settings, for editors."),
) -> None:
    """List the settings: default, possible values, meaning. In a pipe, one line per setting."""
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
