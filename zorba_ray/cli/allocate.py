"""`zorba-ray allocate`: who would activate which blocks."""

import typer


def allocate(
    config: str = typer.Argument(help="A YAML file, or a preset: demo."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. allocation.epsilon=0.2."),
    json_out: bool = typer.Option(False, "--json", help="Print allocation.json instead of the table."),
) -> None:
    """Solve the allocation of a configuration and show it with its proven bounds."""
    import json

    from rich.console import Console
    from rich.table import Table

    from zorba_ray.cli.progress import allocation_table
    from zorba_ray.config import load_config
    from zorba_ray.experiment import allocation_record, prepare, probe_here, solve_allocation
    from zorba_ray.units import format_bytes

    setup = prepare(load_config(config, overrides))
    probe = probe_here(setup) if setup.config.allocation.block_weights == "probe" else None
    record = allocation_record(setup, solve_allocation(setup, probe=probe), "simulated", probe=probe)
    if json_out:
        typer.echo(json.dumps(record, indent=1))
        return
    console = Console()
    console.print(allocation_table(record))
    total = len(record["clients"]) * record["bytes_all_active"]
    console.print(
        f"fleet: {format_bytes(record['f2_bytes'])}; with all blocks active everywhere {format_bytes(total)} "
        f"({1 - record['f2_bytes'] / total:.1%} less); one client with nothing active: "
        + ", ".join(f"{name} {format_bytes(size)}" for name, size in record["memory_parts"].items()),
        highlight=False,
    )
    steps = Table(title="Steps of the ε-constraint lexicographic algorithm", title_justify="left")
    for name in ("step", "minimises", "value", "bound", "gap", "seconds", "status"):
        steps.add_column(name)
    for step in record["steps"]:
        steps.add_row(
            step["name"], step["objective"], f"{step['value']:.6g}", f"{step['bound']:.6g}", f"{step['gap']:.2g}",
            f"{step['seconds']:.2f}", step["status"],
        )  # fmt: skip
    console.print(steps)
