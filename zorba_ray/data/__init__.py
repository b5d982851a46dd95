"""Examples: sources, prompts, partition among the clients, and batches."""

from zorba_ray.data.batches import BatchOrder, ClientRows, Shards, TokenTable, fitting_rows, in_length_order
from zorba_ray.data.doubts import data_doubts
from zorba_ray.data.files import SPLITS
from zorba_ray.data.options import OptionTable
from zorba_ray.data.partition import partition, partition_digest
from zorba_ray.data.prompts import Cut, EncodedRows, encode_rows, prompt_tail, render_prompts
from zorba_ray.data.shared_prefix import shared_length, with_shared
from zorba_ray.data.tasks import Split, Task, load_task, read_rows
from zorba_ray.data.validation_parts import clients_of

__all__ = [
    "SPLITS",
    "BatchOrder",
    "ClientRows",
    "Cut",
    "EncodedRows",
    "OptionTable",
    "Shards",
    "Split",
    "Task",
    "TokenTable",
    "clients_of",
    "data_doubts",
    "encode_rows",
    "fitting_rows",
    "in_length_order",
    "load_task",
    "partition",
    "partition_digest",
    "prompt_tail",
    "read_rows",
    "render_prompts",
    "shared_length",
    "with_shared",
]
