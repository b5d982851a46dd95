"""Settings -> everything a run needs before its first round: model, examples, partition, fleet, memory, header."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zorba_ray.assignment import AssignmentInputs, FleetSchedule, Solved, probe_decides, run_probe, solve
from zorba_ray.config import ExperimentConfig
from zorba_ray.config.aggregation import COMPARING
from zorba_ray.data import (
    ClientRows,
    Cut,
    Shards,
    TokenTable,
    clients_of,
    data_doubts,
    load_task,
    partition,
    partition_digest,
)
from zorba_ray.directions import VERSION
from zorba_ray.experiment.client_memory import (
    fleet_memory,
    layout_section,
    option_sizes,
    prefix_section,
    row_layout,
    shared_tokens,
    workload,
)
from zorba_ray.experiment.examples import tokenised
from zorba_ray.experiment.pair_check import require_right_pairs
from zorba_ray.experiment.privacy import noise_for
from zorba_ray.experiment.row_layout import SettledRows, settled_rows, shared_tables
from zorba_ray.experiment.sampled_answers import SampledRows
from zorba_ray.experiment.task_model import (
    compute_device,
    directions_of,
    host_store,
    set_threads,
    start_model,
    task_model,
)
from zorba_ray.experiment.unfamiliar import unfamiliar_memory
from zorba_ray.federation import ClientAccelerator, ClientHost
from zorba_ray.methods import build_method
from zorba_ray.models import Batch, HostStore, TaskModel
from zorba_ray.privacy import Secret
from zorba_ray.protocol.aggregation import aggregate_section
from zorba_ray.protocol.example_groups import groups_section
from zorba_ray.protocol.ledger import FORMAT
from zorba_ray.protocol.messages import LedgerHeader, Section
from zorba_ray.protocol.noise import noise_section
from zorba_ray.protocol.states import replica_state
from zorba_ray.stopwatch import UNWATCHED, Watch, watch_if
from zorba_ray.tasks.reward import Reward
from zorba_ray.tasks.reward_code import RewardCode, read_reward


@dataclass(frozen=True)
class Setup(AssignmentInputs):
    """What `prepare` derives from the settings."""

    model: TaskModel
    shards: Shards
    """The training examples, and which client has which."""
    validation: TokenTable
    validation_clients: np.ndarray
    """The client that each validation row is dealt to: int64 [rows], −1 for nobody."""
    test: TokenTable
    cuts: Mapping[str, Cut]
    """By split: rows longer than data.max_length."""
    doubts: Sequence[str]
    """What makes the data mean little, as sentences."""
    prefix_note: str
    """What all rows begin with, as a sentence; empty where they do not begin alike."""
    sampled: SampledRows
    """Test rows whose answers are kept."""
    reward: RewardCode | None = None
    """Of a task that is a reward."""


def prepare(
    config: ExperimentConfig,
    device: str = "cpu",
    watch: Watch = UNWATCHED,
    clients_here: bool = False,
    accelerator: str = "simulated",
    reward: RewardCode | None = None,
    begun: LedgerHeader | None = None,
) -> Setup:
    """Loads and derives; nothing is written and no client runs.

    Args:
        clients_here: clients compute on this process's replica, so that its blocks live where `memory` says.
        watch: of this process; takes the time of the model's directions.
        accelerator: what clients compute on, here or elsewhere.
        reward: the code of `task.reward`, where the user allowed it; None is enough where there is none, or one of
            this package.
        begun: header of the ledger of a run that goes on; None: the run is new.

    Raises:
        ConfigError, DataError, ModelError: what is wrong with settings, data or model.
        RewardError: what is wrong with the reward of the first batch.
    """
    set_threads(config)
    labelled = config.row_kind == "classification"
    if config.task_kind == "reward" and reward is None:
        reward = read_reward(str(config.task.reward), (), Path())
    judge = None if reward is None else Reward(reward)
    task = load_task(config.data, config.seed, labelled, config.task)
    with watch.part("load"):
        loaded = start_model(config)
    examples = tokenised(task, config, loaded)
    model = task_model(loaded, config, device, watch, host_store(config, device) if clients_here else None, judge)

    def check(shared: bool) -> None:
        require_right_pairs(config, model, shared)
        if (store := _elsewhere(config, accelerator, device, clients_here)) is not None:
            other = task_model(start_model(config), config, "cpu", watch, store)
            other.layout = model.layout
            require_right_pairs(config, other, shared)

    with watch.part("check"):
        known = None
        if begun is not None:
            known = SettledRows(shared_tokens(begun.sections), row_layout(begun.sections))
        alike = not config.zo.shared_by  # else tokens of an example have the steps of its own direction
        rows = settled_rows(model, examples.tables[0], known, check, alike)
        train, validation, test = shared_tables(rows.shared, examples.tables)
        if judge is not None:
            first = train.collate(
                np.arange(min(len(train), config.data.batch_size)), int(loaded.tokenizer.pad_token_id)
            )
            model.evaluate([Batch.of(*first).to(device)])
    parts = partition(config.data, config.federation.clients, task.train.labels, task.train.owners, config.seed)
    scored = config.data.label_words if labelled else ()
    samples = [len(part) for part in parts]
    sections = option_sizes(train) | prefix_section(train.shared) | layout_section(rows.layout)
    if reward is not None:
        sections["reward"] = Section(1, reward.digest)
    sections |= groups_section(config.direction_groups)
    federation, each = config.federation, config.spec.commits == "scalars"  # else the server aggregates
    if each and federation.aggregate in COMPARING:
        sections |= aggregate_section(federation.aggregate, federation.byzantine or 1)
    memory, fleet = fleet_memory(config, model, sections), FleetSchedule(config)
    sections |= noise_section(noise_for(config, fleet))
    doubts = unfamiliar_memory(config, loaded, memory, workload(config, loaded, sections))
    template = config.data.prompt if config.task.messages_column is None else "{messages}"
    doubts += data_doubts(task, template, scored, samples, examples.cuts)
    manifest = model.replica.manifest
    header = LedgerHeader(
        format=FORMAT,
        directions=VERSION,
        method=config.method,
        weights_sha256=model.replica.digest(),
        manifest_sha256=manifest.digest,
        config_sha256=config.digest(),
        partition_sha256=partition_digest(parts),
        data_sha256=table_digest(train),
        seed=config.seed,
        seeds=config.federation.seeds,
        weights=config.federation.weights,
        distribution=config.zo.distribution,
        scope=config.zo.fixed_scope,
        directions_per_step=config.zo.directions,
        local_steps=config.local_steps,
        samples=tuple(samples),
        blocks=manifest.blocks,
        family=config.zo.family,
        rank=config.zo.matrix_rank,
        commits=config.spec.commits,
        pool=config.spec.pool(config),
        clip_spread=(federation.spread or 0.0) if each else 0.0,
        sections=sections,
    )
    return Setup(
        config=config,
        manifest=manifest,
        memory=memory,
        header=header,
        fleet=fleet,
        accelerator=accelerator,
        model=model,
        shards=Shards(train, ClientRows.of(parts)),
        validation=validation,
        validation_clients=clients_of(config.data, task.train, parts, task.validation, config.seed)[: len(validation)],
        test=test,
        cuts=examples.cuts,
        doubts=doubts,
        prefix_note=rows.note,
        sampled=SampledRows.drawn(task.test, test, config),
        reward=reward,
    )


def _elsewhere(config: ExperimentConfig, accelerator: str, device: str, clients_here: bool) -> HostStore | None:
    """How clients of other processes keep θ, so that their pairs are checked in this one: in 16 bits on a GPU, or with
    packed matrices. None: as this process keeps it."""
    packs = config.memory.frozen_format != "compute"
    if accelerator == "cuda" and device == "cpu" and config.memory.compute_dtype == "bf16":
        return HostStore(torch.bfloat16, True, packs, config.memory.stem_format)
    return host_store(config, "cpu") if packs and not clients_here else None


def build_host(
    config: ExperimentConfig,
    header: LedgerHeader,
    model: TaskModel,
    watch: Watch = UNWATCHED,
    secret: Secret | None = None,
) -> ClientHost:
    """A host on a model at θ0, with nobody in it yet. `secret` is as of `ClientHost`.

    Raises:
        LedgerError: the model is not the header's.
    """
    model.layout = row_layout(header.sections)
    lazily = directions_of(config, "cpu", watch) if model.store is not None else None
    state = replica_state(model.replica, directions_of(config, model.device, watch), header, lazily)
    served = model.store is not None or model.device == "cuda"
    accelerator = (
        ClientAccelerator(model, fleet_memory(config, model, header.sections), FleetSchedule(config).budgets_at)
        if served
        else None
    )
    method = build_method(config, state.rule, model.replica.manifest)
    return ClientHost(config, method, model, state, watch, accelerator, secret)


def solve_allocation(setup: Setup, epsilon: float | None = None) -> Solved:
    """Who activates which blocks in round 1, as a run would have it: for what looks at settings without a run.

    All clients are probed, in this process, where a probe can change the answer.

    Args:
        epsilon: another ε at which the answer is looked at too, as on a front; None: that of the settings alone.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind, or rules that contradict each other.
    """
    fleet, probe = setup.fleet.at(1), None
    if probe_decides(setup, fleet, epsilon):
        host = build_host(setup.config, setup.header, setup.model)
        host.load_shards(setup.shards)
        probe = run_probe(setup, fleet, 1, host.state.chain, host.answer)
    return solve(setup, fleet, probe)


def worker_host(
    tree: dict[str, Any],
    accelerator: str,
    header: LedgerHeader,
    reward: RewardCode | None = None,
    secret: Secret | None = None,
) -> ClientHost:
    """`build_host` for a fresh process: loads the model itself. What Ray actors call; `reward` and `secret`: as the
    driver read them."""
    config = ExperimentConfig.model_validate(tree)
    set_threads(config)
    own = watch_if(config.tracking.profile)
    with own.part("start"):
        device = compute_device(accelerator)
        judge = None if reward is None else Reward(reward)
        model = task_model(start_model(config), config, device, own, host_store(config, device), judge)
        model.layout = row_layout(header.sections)
        if device == "cuda":  # what the driver emulated, on the real thing
            with own.part("check"):
                require_right_pairs(config, model, bool(shared_tokens(header.sections)))
        return build_host(config, header, model, own, secret)


def table_digest(table: TokenTable) -> str:
    """SHA-256 (hex) of examples as tokens, with their labels and options."""
    hasher, options = hashlib.sha256(), table.options
    more = () if options is None else (options.tokens, options.starts, options.firsts)
    for array in (table.tokens, table.starts, table.labels, table.scored, *more):
        if array is not None:
            hasher.update(np.ascontiguousarray(array).data)
    if table.references is not None:
        hasher.update(json.dumps([*map(list, table.references), *map(list, table.choices or ())]).encode())
    return hasher.hexdigest()
