"""`zorba-ray init`: writes a first configuration for the user's own data, with a comment at every guess."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zorba_ray.cli.terminal import say

if TYPE_CHECKING:
    from zorba_ray.data.proposal import DataProposal

_CLIENTS = 8
_ROWS_PER_CLIENT = 40
_NEW_TOKENS = 16
"""Of a short answer."""


def init(
    data: Path = typer.Argument(help="A CSV, JSONL or parquet file, or a folder with train.csv and so on."),
    model: str = typer.Option("builtin", "--model", help="A folder, a hub id, or builtin (small, for a first try)."),
    out: Path = typer.Option(None, "--out", "-o", help="The file to write (default: the name of the data, as .yaml)."),
) -> None:
    """Look at data and write a first configuration: task, prompt, label words, clients, batch and rate."""
    from zorba_ray.data.proposal import propose_data
    from zorba_ray.errors import ConfigError, ZorbaError

    path = out or Path(f"{data.resolve().stem}.yaml")
    if path.exists():
        raise ConfigError(f"{path} exists: name another file with --out, or remove it")
    proposal = propose_data(data)
    path.write_text(configuration(proposal, data, model, path.stem, *_memory()), encoding="utf-8")
    say(f"written: {path}: {proposal.rows:,} rows, {_task(proposal)}")
    try:
        say(f"checked: {_check(path)}")
    except ZorbaError as error:
        say(f"to correct: a run of {path} would end with:", err=True)
        raise error
    say(f"next: read its comments, then\n  zorba-ray lr {path}     # finds a learning rate\n  zorba-ray run {path}")


def _check(path: Path) -> str:
    """Loads all that a run would load. Returns a sentence about its clients' blocks and bytes.

    Raises:
        ZorbaError: a run would be refused.
    """
    from zorba_ray.assignment import allocation_record
    from zorba_ray.config import load_config
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.tables.text import text_bytes

    setup = prepare(load_config(str(path)))
    record = allocation_record(setup, solve_allocation(setup))
    counts = [len(client.blocks) for client in record.clients]
    block_range = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    most = text_bytes(max(client.bytes for client in record.clients))
    return (
        f"data and model load; each client activates {block_range} of {setup.header.blocks} blocks, in at most {most}"
    )


def configuration(proposal: "DataProposal", data: Path, model: str, name: str, memory: int, device: str) -> str:
    """The YAML text.

    Args:
        name: of the run.
        memory: bytes of this machine's GPU, or of its main memory.
        device: "GPU memory" or "main memory".
    """
    small = model == "builtin"
    words = proposal.label_words if proposal.named or not small else _builtin_words(proposal.label_words)
    clients = max(2, min(_CLIENTS, proposal.rows // _ROWS_PER_CLIENT))
    batch = max(1, min(16, proposal.rows // (2 * clients)))
    halves = clients // 2
    gib = max(1, memory * 10 // 2**30) / 10
    labels = proposal.label_column
    room = 64 - (_NEW_TOKENS if proposal.kind == "generation" else 0)
    lines = [
        f"# {name}: written by `zorba-ray init`. `zorba-ray schema` lists every setting.",
        f"name: {name}",
        "rounds: 20                        # for a first look; use some hundred to train",
        f"model: {{path: {_text(model)}}}",
        *_task_lines(proposal),
        "data:",
        f"  path: {_text(str(data))}",
    ]
    if not proposal.messages_column:
        lines += [
            f"  prompt: {_text(proposal.prompt)}",
            f"  # What the model reads: columns in braces. {_FOLLOWS[proposal.kind]}",
        ]
    if labels:
        lines += [f"  label_column: {_text(labels)}"]
    if words:
        lines += [
            f"  label_words: [{', '.join(map(_text, words))}]",
            *_label_comments(proposal, words, small),
        ]
    lines += [
        f"  max_length: {min(proposal.max_length, room) if small else proposal.max_length}"
        f"                  # tokens; {'the built-in model has 64 positions' if small else '19 of 20 rows fit, about'}",
        f"  batch_size: {batch}",
    ]
    if proposal.owner_column and proposal.owners >= clients:
        lines += [
            "  partition: column               # a client holds the rows of some owners",
            f"  partition_column: {_text(proposal.owner_column)}",
        ]
    lines += [
        "zo:",
        "  scope: bias_norm                # norms and biases are perturbed; `all`: every tensor",
        f"  lr: {0.01 if small else 0.003}                        # a guess: `zorba-ray lr` tries several",
        "  directions: 4                   # forward pairs of a client in a round",
        "memory: {frozen: host}            # blocks that a client does not activate stay in main memory",
        "federation:",
        f"  clients: {clients}",
        "  backend: sequential             # clients one after another, in one process; `ray`: in parallel",
        f"  fleet:                          # this machine has {gib:g} GiB of {device}",
        f"    - {{name: this_size, count: {clients - halves}, vram: {gib:g} GiB}}",
        f"    - {{name: half_size, count: {halves}, vram: {gib / 2:g} GiB}}",
        "",
    ]
    return "\n".join(lines)


_FOLLOWS = {
    "classification": "The label word follows it.",
    "multiple_choice": "One of the row's options follows it.",
    "completion": "The answer follows it. The model learns only the answer.",
    "generation": "The model writes an answer after it. It learns the first right one.",
    "language_model": "No column is a label: the model learns the text itself.",
}


def _task_lines(proposal: "DataProposal") -> list[str]:
    """The section `task`; empty for a classification."""
    columns = {
        "answer": proposal.answer_column and f"{{{proposal.answer_column}}}",
        "options_column": proposal.options_column,
        "messages_column": proposal.messages_column,
        "references_column": proposal.references_column,
    }
    settings = [f"{name}: {_text(value)}" for name, value in columns.items() if value]
    settings += [f"max_new_tokens: {_NEW_TOKENS}"] if proposal.references_column else []
    if proposal.kind != "classification":
        return [f"task: {{{', '.join([f'kind: {proposal.kind}', *settings])}}}"]
    return []


def _label_comments(proposal: "DataProposal", words: tuple[str, ...], small: bool) -> list[str]:
    from zorba_ray.data.grammar import TASK_LABEL_WORDS

    counts = ", ".join(
        f"{word}: {rows:,}" for word, rows in zip(proposal.label_words, proposal.label_rows, strict=True)
    )
    lines = [f"  # Rows of each: {counts}" if len(counts) <= 90 else f"  # {len(proposal.label_words)} labels"]
    if small and not {*words} <= {*TASK_LABEL_WORDS}:
        lines.append(
            f"  # The built-in model knows the words {', '.join(TASK_LABEL_WORDS)}. Choose another with --model, or"
        )
        lines.append(
            "  # write these words, and say in labels.json, beside the data, which label each is (docs/data.md)."
        )
    if not proposal.named:
        lines.append("  # The labels are numbers. Write a word for each here, in the same order.")
    return lines


def _builtin_words(numbers: tuple[str, ...]) -> tuple[str, ...]:
    """Words that the built-in model knows, for up to four labels; if there are more, the numbers."""
    from zorba_ray.data.grammar import TASK_LABEL_WORDS

    chosen = {2: (0, 3), 3: (0, 2, 3), 4: (0, 1, 2, 3)}.get(len(numbers)) if numbers[0] == "0" else None
    return numbers if chosen is None else tuple(TASK_LABEL_WORDS[index] for index in chosen)


def _task(proposal: "DataProposal") -> str:
    if proposal.kind == "multiple_choice":
        return f"options in column {proposal.options_column!r}, the right one in {proposal.label_column!r}"
    if proposal.kind == "completion":
        return f"the model learns the answers in column {proposal.answer_column or proposal.messages_column!r}"
    if proposal.kind == "generation":
        return f"the model writes answers, and column {proposal.references_column!r} has the right ones"
    if proposal.kind == "language_model":
        return "no column of labels: the model learns the text itself"
    return f"{len(proposal.label_words)} labels in column {proposal.label_column!r}"


def _text(value: str) -> str:
    """A YAML scalar: without quotes if YAML cannot misread it, else in double quotes as in JSON."""
    plain = re.fullmatch(r"[A-Za-z][\w./-]*", value, re.ASCII) and value.lower() not in _YAML_WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


_YAML_WORDS = ("y", "n", "yes", "no", "true", "false", "on", "off", "null", "nan", "inf")


def _memory() -> tuple[int, str]:
    """(bytes of the first GPU, or of main memory if there is none; which of the two)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, "GPU memory"
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "main memory"
