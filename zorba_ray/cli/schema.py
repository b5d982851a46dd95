"""`zorba-ray schema`: every setting, for people and editors."""

import typer

from zorba_ray.cli.terminal import say


def schema(
    as_json: bool = typer.Option(False, "--json", help="JSON schema, for editors and validators."),
) -> None:
    """List every setting with its default and meaning."""
    from zorba_ray.config import ExperimentConfig

    if as_json:
        import json

        say(json.dumps(ExperimentConfig.model_json_schema(), indent=1))
        return
    from pydantic import BaseModel
    from rich.table import Table

    from zorba_ray.cli.terminal import Console

    table = Table(show_lines=False, title="Settings (override with key=value)", title_justify="left")
    for name in ("setting", "default", "meaning"):
        table.add_column(name, overflow="fold")

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            kind = field.annotation
            if prefix == "" and name in (chosen := ExperimentConfig.open_sections()):
                for kind in chosen[name]:
                    walk(kind, f"{name}.")
                continue
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                walk(kind, f"{prefix}{name}.")
            else:
                default = "required" if field.is_required() else repr(field.default)
                default = "by other settings" if field.default_factory else default
                table.add_row(prefix + name, default, field.description or "")

    walk(ExperimentConfig, "")
    Console().print(table)
