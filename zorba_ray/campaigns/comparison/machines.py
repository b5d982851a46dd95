"""Which machines of the fleet can take part in a method, and how they keep its step in memory.

A client's bytes depend on the method and on its placement. Checkpointing and streaming change bytes and time alone, so
each machine takes the quickest placement that its budget holds. A packed base changes θ, and may cost quality. So its
format is one for all clients of a method: the finest of those with which most can take part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import get_args

from zorba_ray.artifacts.campaigns import MachineFit, MethodFit, MethodPlacement
from zorba_ray.assignment.fleet import Client
from zorba_ray.config import ExperimentConfig, LocalStep
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.client_memory import workload
from zorba_ray.formats import Format
from zorba_ray.memory import FleetMemory, Workload, counted_bare
from zorba_ray.memory.count import ClientStep
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.memory.round_time import SPEEDS, pair_seconds, plain_seconds
from zorba_ray.memory.table import spread_evenly
from zorba_ray.methods import method_of
from zorba_ray.models import RESIDENT, STREAMED, Manifest

PLACEMENTS = ("resident", "checkpointed", "streamed")
"""Where a method without active blocks keeps its blocks. resident: on the accelerator. checkpointed: there, and the
activations of a block are computed again for the backward pass. streamed: in host memory, block by block through two
buffers: the base of adapters (checkpointed too, if there is a backward pass), and the whole model of a method of
forward passes, as ZO2 does for MeZO. Full backpropagation is not streamed."""


def method_fit(
    config: ExperimentConfig, setup: Setup, allowed: Sequence[str] = PLACEMENTS, formats: Sequence[Format] = ()
) -> MethodFit:
    """The machines of `setup`'s fleet with the method of `config`.

    Args:
        config: the settings of a run of the method, with the data and model of `setup`.
        setup: of the base run, whose fleet has budgets.
        allowed: of PLACEMENTS, those that the method may use.
        formats: those that a frozen base may have; empty: all.

    Raises:
        ConfigError: a step of the method cannot be counted on this model; none of `allowed` is one of the method's.
    """
    method, work = method_of(config), workload(config, setup.model.loaded, setup.header.sections)
    fleet = setup.fleet.at(1)
    if method.allocates:
        memory = method.memory(config, setup.manifest, work)
        machines = tuple(
            MachineFit(kind=kind, clients=clients, budget_bytes=budget,
                       placement=_of_budget(config, setup.manifest, memory, work, budget))
            for kind, budget, clients in _classes(fleet)
        )  # fmt: skip
        return MethodFit(machines=machines, source=memory.of(None).source)
    step = method.local_step(config)
    ways = dict(_ways(step, formats or (get_args(Format) if method.adapters else ("compute",)), allowed))
    if not ways:
        raise ConfigError(
            f"--placements {config.method}={','.join(allowed)}: a client of {config.method} has none of these; it can "
            f"be {' or '.join(dict.fromkeys(name for name, _ in dict(_ways(step, ('compute',), PLACEMENTS))))}"
        )
    return fit_of(fleet, [_counted(config, setup.manifest, work, way, step) for way, step in ways.items()])


def fit_of(fleet: Sequence[Client], placements: Sequence[MethodPlacement]) -> MethodFit:
    """The machines of a fleet with a method that has these placements, those of finer formats first: in the format
    that most machines can use."""
    formats = list(dict.fromkeys(placement.format for placement in placements))
    fits = [
        tuple(
            MachineFit(kind=kind, clients=clients, budget_bytes=budget,
                       placement=quickest(budget, [where for where in placements if where.format == format]))
            for kind, budget, clients in _classes(fleet)
        )
        for format in formats
    ]  # fmt: skip

    def taking_part(machines: Sequence[MachineFit]) -> int:
        return sum(len(machine.clients) for machine in machines if not machine.missing_bytes)

    return MethodFit(machines=max(fits, key=taking_part), placements=tuple(placements))


def quickest(budget: int, placements: Sequence[MethodPlacement]) -> MethodPlacement:
    """The quickest placement that the budget holds, of equals the smallest; the smallest of all if it holds none."""
    held = [where for where in placements if where.bytes <= budget]
    return min(held, key=lambda where: (where.seconds, where.bytes)) if held else min(placements, key=lambda p: p.bytes)


def without(fit: MethodFit) -> list[Mapping[str, object]]:
    """`federation.changes` that leave out the clients whose machine is too small."""
    return [{"round": 1, "client": client, "present": False} for client in fit.left_out]


def _classes(fleet: Sequence[Client]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """(class, budget, clients)."""
    for (kind, budget), clients in groupby(fleet, key=lambda client: (client.kind, client.budget)):
        assert budget is not None
        yield kind, budget, tuple(client.id for client in clients)


def _ways(
    step: LocalStep, formats: Sequence[Format], allowed: Sequence[str]
) -> Iterator[tuple[tuple[str, Format], LocalStep]]:
    """((placement, format of the base), step)."""
    for format in formats:
        based = replace(step, base_format=format)
        if "resident" in allowed:
            yield ("resident", format), based
        if step.backward and "checkpointed" in allowed:
            yield ("checkpointed", format), replace(based, checkpoint=True)
        if (step.rank or not step.backward) and "streamed" in allowed:
            yield ("streamed", format), replace(based, checkpoint=step.backward)


def _counted(
    config: ExperimentConfig, manifest: Manifest, work: Workload, way: tuple[str, Format], step: LocalStep
) -> MethodPlacement:
    name, format = way
    compute, scope, counting = config.memory.compute_dtype, config.zo.fixed_scope, step
    inventory = Inventory(manifest, RESIDENT, scope, COMPUTE_BYTES[compute])
    seconds = plain_seconds(inventory, work, step)
    from_host = replace(inventory, placement=replace(STREAMED, format=format), resident=False)
    every = frozenset(range(manifest.blocks))
    if name == "streamed" and not step.rank:
        counting: ClientStep = PairedStep(STREAMED, every, scope, resident=False)
        seconds = pair_seconds(from_host, work, every)
    try:
        parts = counted_bare(config.model, manifest, compute, work, counting)
    except Exception as error:  # a model's code may raise anything on tensors without memory
        raise ConfigError(
            f"federation.fleet: a step of {config.method} cannot be counted on this model ({type(error).__name__}: "
            f"{error}), so that nobody knows which machines can take part; drop {config.method} from --methods, or set "
            "federation.fleet=null"
        ) from error
    held = sum(parts.values())
    if name == "streamed" and step.rank:  # a base that is read twice: for both signs, or forward and backward
        held += from_host.buffers() - parts["frozen"]
        seconds = max(seconds, 2 * from_host.streamed(frozenset()) / SPEEDS.link)
    elif name == "streamed":
        held += 4 * step.seeds  # accumulators, one per candidate seed
    return MethodPlacement(name=name, format=format, bytes=held, seconds=seconds)


def _of_budget(
    config: ExperimentConfig, manifest: Manifest, memory: FleetMemory, work: Workload, budget: int
) -> MethodPlacement:
    """A client of a method that allocates, with as many active blocks as it has room for. If it has none: with one, in
    the smallest placement."""
    placement, held = memory.placement(budget), memory.of(budget)
    if not memory.room(budget):
        placement, held = memory.smallest()
    most = config.allocation.max_blocks or manifest.blocks
    blocks = max(1, min(memory.room(budget, placement), most))
    smallest = held.active_extra.argsort(kind="stable")[:blocks].tolist()
    step = PairedStep(placement, spread_evenly(blocks, manifest.blocks), config.zo.fixed_scope)
    size = COMPUTE_BYTES[config.memory.compute_dtype]
    inventory = Inventory(manifest, placement, step.scope, size, stem_format=config.memory.stem_format)
    return MethodPlacement(
        name=step.label, format=placement.format, bytes=held.bytes_of(frozenset(smallest)),
        seconds=pair_seconds(inventory, work, step.active), blocks=blocks,
    )  # fmt: skip
