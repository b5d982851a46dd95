"""`zorba-ray run --dry-run`: whether the settings would run, the blocks and bytes of clients, the cost."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zorba_ray.artifacts.allocation import AllocationRecord
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.experiment import Setup
    from zorba_ray.tasks.reward_code import RewardCode


def preview(config: "ExperimentConfig", path: Path, reward: "RewardCode | None" = None) -> None:
    """Loads and checks all that a run would, prints the answer, and writes nothing.

    Args:
        path: the run directory that the run would have.
        reward: the code of `task.reward`, if the user allowed it.

    Raises:
        ZorbaError: a run would end with this before its first round.
    """
    from zorba_ray.artifacts import record_of
    from zorba_ray.artifacts.allocation import AllocationRecord
    from zorba_ray.assignment import allocation_record
    from zorba_ray.cli.allocation_view import print_map
    from zorba_ray.cli.terminal import Console
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.run_warnings import start_warnings
    from zorba_ray.experiment.scope import with_scope
    from zorba_ray.federation.accelerator import choose_accelerator

    console = Console()
    choose_accelerator(config)
    config, probe = with_scope(config)
    setup = prepare(config, reward=reward)
    warnings = start_warnings(setup)
    tree = allocation_record(setup, solve_allocation(setup)).tree()
    allocation = record_of(AllocationRecord, tree, "allocation")
    where = "in this process" if config.federation.backend == "sequential" else "on Ray"
    console.print(
        f"This would run: {config.rounds:,} rounds of {config.method} with {config.federation.clients:,} clients "
        f"{where}. Run directory: {path}{' (it exists already)' if os.path.exists(path) else ''}."
    )
    for text in warnings:
        console.print(f"warning: {text}", style="yellow")
    print_map(console, tree)
    for line in (_memory(allocation), _data(setup), _passes(setup, allocation), _traffic(setup), *_answers(setup)):
        console.print(line)
    for line in (setup.prefix_note, "" if probe is None else probe.line()):
        if line:
            console.print(line)
    console.print("Settings that differ from the defaults:")
    for key, value in config.differing().items():
        console.print(f"  {key}: {json.dumps(value, ensure_ascii=False)}", soft_wrap=True)


def _memory(allocation: "AllocationRecord") -> str:
    budgets = [client for client in allocation.clients if client.share is not None]
    if not budgets:
        return "Memory: no client has a budget (federation.fleet)."
    fullest = max(budgets, key=lambda client: client.share or 0.0)
    return f"Memory: the fullest client ({fullest.client}, {fullest.kind}) uses {fullest.share:.1%} of its budget."


def _data(setup: "Setup") -> str:
    rows = ", ".join(
        f"{len(table):,} {name}"
        for name, table in (("training", setup.shards.table), ("validation", setup.validation), ("test", setup.test))
    )
    manifest, scope = setup.manifest, setup.header.scope
    moved = sum(manifest.sizes(setup.config.zo.fixed_scope))
    return (
        f"Rows: {rows}. Model: {manifest.numel:,} parameters, {moved:,} of them perturbed (zo.scope={scope}) in "
        f"{manifest.blocks} blocks."
    )


def _passes(setup: "Setup", allocation: "AllocationRecord") -> str:
    from zorba_ray.federation.round import participant_count

    config, blocks = setup.config, setup.header.blocks
    passes, clients = config.passes_per_round, len(allocation.clients)
    asked = participant_count(clients, config.federation.participants)
    cost = 0.0
    for client in allocation.clients:
        first = min(client.blocks, default=blocks)
        cost += (passes * (blocks - first) + config.local_steps * first) / blocks * asked / clients
    named = f"{clients:,} clients" if asked == clients else f"{asked:,} of {clients:,} clients"
    most = "at most " if config.data.batch_tokens is not None else ""
    return (
        f"A round: {named} × {passes} forward passes of {most}{config.data.batch_size} examples. Blocks "
        f"before the first active one run only once, so a round costs about {cost:.1f} passes of the whole model."
    )


def _answers(setup: "Setup") -> list[str]:
    """What the evaluations of a generation cost; nothing of other tasks."""
    decoder, settings = setup.model.decoder, setup.config.eval
    if decoder is None:
        return []
    times = 1 + -(-setup.config.rounds // settings.every)
    tokens = decoder.ending.max_new_tokens
    how = (
        f"a pass of {len(setup.validation):,} single tokens"
        if decoder.cached
        else "a pass of the whole texts, as its cache of keys and values does not give its own logits"
    )
    return [
        f"Evaluations: {times:,} of validation, in each of which the model writes {len(setup.validation):,} answers of "
        f"at most {tokens:,} tokens; each token is {how}. Test: {len(setup.test):,} answers, at the start and at the "
        "end. eval.rows and eval.every make it less."
    ]


def _traffic(setup: "Setup") -> str:
    """Bytes of the messages of a round in which every asked client reports."""
    from zorba_ray.config.aggregation import participant_count
    from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan, encode
    from zorba_ray.protocol.replay import rule_of

    config, header = setup.config, setup.header
    if config.spec.central:
        return "Bytes: none, one client holds all data."
    if header.commits not in ("scalars", "mean"):
        return f"Bytes: method={config.method} sends more than scalars; the run counts them."
    clients = config.federation.clients
    asked = participant_count(clients, config.federation.participants)
    scalars = bytes(4 * header.local_steps * rule_of(header).scalars)
    report = encode(ClientReport(config.rounds, clients - 1, bytes(8), bytes(4), max(header.samples), scalars))
    plan = encode(RoundPlan(config.rounds, config.zo.lr, config.zo.perturbation_scale, bytes(8)))
    per_client = header.commits == "scalars"
    named = bytes(4 * asked) if per_client and asked < clients else b""
    commit = encode(RoundCommit(config.rounds, config.zo.lr, named, scalars * asked if per_client else scalars))
    return f"Bytes per client and round: about {len(report)} up, {len(plan) + len(commit):,} down."
