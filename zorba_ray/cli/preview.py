"""What a run would be: settings, allocation, bytes and forward passes."""

import json

from zorba_ray.cli.allocation_view import print_map
from zorba_ray.cli.terminal import Console
from zorba_ray.config import ExperimentConfig


def preview(config: ExperimentConfig) -> None:
    """Prints the resolved settings, the allocation and the cost of a run; runs nothing and writes nothing."""
    from zorba_ray.assignment import allocation_record
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.scope import with_scope

    console = Console(soft_wrap=True)
    config, scope = with_scope(config)
    if scope is not None:
        console.print(scope.line(), highlight=False)
    console.print_json(json.dumps(config.resolved()))
    setup = prepare(config)
    record = allocation_record(setup, solve_allocation(setup)).tree()
    print_map(console, record)
    passes = config.passes_per_round
    blocks = setup.header.blocks
    cost = 0.0
    for client in record["clients"]:
        first = min(client["blocks"]) if client["blocks"] else blocks
        cost += (passes * (blocks - first) + config.local_steps * first) / blocks
    console.print(
        f"{config.rounds} rounds × {len(record['clients'])} clients × {passes} forward passes of "
        f"{config.data.batch_size} "
        f"examples; about {cost:.1f} forward passes of the full model per round with the shared prefix "
        f"({passes * len(record['clients'])} without)",
        highlight=False,
    )
