"""What a client's batch needs, and the bytes of the fleet that follow."""

import struct
from collections.abc import Mapping
from dataclasses import replace

from zorba_ray.config import DECODED, ExperimentConfig
from zorba_ray.data import TokenTable
from zorba_ray.errors import ConfigError
from zorba_ray.memory import FleetMemory, Workload, workload_of
from zorba_ray.methods import method_of
from zorba_ray.models import LoadedModel, TaskModel
from zorba_ray.protocol.messages import Section


def fleet_memory(config: ExperimentConfig, model: TaskModel, sections: Mapping[str, Section]) -> FleetMemory:
    """Where clients' blocks live, and the bytes of it; `sections`: of the ledger's header."""
    return method_of(config).memory(config, model.replica.held, workload(config, model.loaded, sections))


def option_sizes(table: TokenTable) -> dict[str, Section]:
    """For workers, which do not see all rows: how many sequences an example has, and how many tokens an option."""
    options = table.options
    if options is None:
        return {}
    return {"options": Section(1, struct.pack("<II", options.most_sequences, options.longest))}


def prefix_section(shared: int) -> dict[str, Section]:
    """First tokens of all training rows that a batch computes once; no section where there are none."""
    return {"shared_prefix": Section(1, struct.pack("<I", shared))} if shared else {}


def shared_tokens(sections: Mapping[str, Section]) -> int:
    """What `prefix_section` says."""
    section = sections.get("shared_prefix")
    return 0 if section is None else struct.unpack("<I", section.content)[0]


def workload(config: ExperimentConfig, loaded: LoadedModel, sections: Mapping[str, Section]) -> Workload:
    data = config.data
    options = sections.get("options")
    labels = len(data.label_words) if config.row_kind == "classification" and options is None else None
    work = workload_of(loaded.network.config, config.model.path, data.batch_size, data.max_length, labels)
    work = replace(work, shared=shared_tokens(sections), groups=config.direction_groups)
    if options is not None:
        if data.batch_tokens is not None:
            raise ConfigError(
                f"data.batch_tokens={data.batch_tokens}: a row is read once per label word or option here, which it "
                "does not count; set data.batch_tokens=null and a smaller data.batch_size"
            )
        sequences, tokens = struct.unpack("<II", options.content)
        return replace(work, batch_size=work.batch_size * sequences, positions=min(tokens + 1, work.length))
    if config.task_kind == "reward" and config.row_kind in DECODED:
        return replace(work, positions=1, written=config.task.max_new_tokens, shared=0)  # prompts are read whole
    if data.batch_tokens is None:
        return work
    # No batch has more tokens than these rows of full length, nor larger attention masks; but it may have more rows.
    rows = min(data.batch_size, -(-(data.batch_tokens - work.shared) // (data.max_length - work.shared)))
    return replace(work, batch_size=rows, most_rows=data.batch_size)
