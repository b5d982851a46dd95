"""The figure and texts of the partition: the number of training rows of each client and label."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from zorba_ray.artifacts import PartitionRecord, Run
from zorba_ray.report.figure import GREY, SINGLE_CLIENTS, Plot, legend, look, plot, short
from zorba_ray.tables.text import text_count, text_range

COLORS = 6
"""The most frequent labels have a colour each; the others share one."""


def partition_text(run: Run) -> str:
    """As 'dirichlet, alpha = 0.5'."""
    data = run.config.data
    more = {
        "dirichlet": f", alpha = {data.alpha:g}",
        "quantity_skew": f", alpha = {data.alpha:g}",
        "label_shards": f", {text_count(data.labels_per_client, 'label')} per client",
        "column": f", {data.partition_column}",
    }
    return data.partition.replace("_", " ") + more.get(data.partition, "")


def spread_text(record: PartitionRecord) -> str:
    """As 'rows of a client: 12–340, median 60; labels of a client: 1–4'."""
    rows = [sum(counts.values()) for counts in record.clients]
    text = f"rows of a client: {text_range(rows)}, median {median(rows):,g}"
    labels = text_range([len(counts) for counts in record.clients])
    return f"{text}; labels of a client: {labels}" if record.labelled else text


def partition_plot(run: Run) -> Plot | None:
    """A bar per client, divided by label; for many clients, means of groups. None if partition.json is missing."""
    record = run.partition
    if record is None or not record.clients:
        return None
    groups = partition_groups(record.clients)
    totals = sum((Counter(counts) for counts in record.clients), Counter[int]())
    named = [label for label, _ in totals.most_common(COLORS if len(totals) > COLORS + 1 else COLORS + 1)]
    means = [{label: sum(o.get(label, 0) for o in part) / len(part) for label in totals} for _, part in groups]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows, offsets = np.arange(len(groups)), np.zeros(len(groups))

        def bars(width: list[float], name: str, color: str) -> None:
            nonlocal offsets
            axes.barh(rows, width, 0.72, left=offsets, color=color, label=name)
            offsets = offsets + np.array(width)

        for index, label in enumerate(sorted(named)):
            bars([mean[label] for mean in means], _label(run, label), str(look(index)["color"]))
        if others := totals.keys() - set(named):
            bars([sum(mean[label] for label in others) for mean in means], f"{len(others)} other labels", GREY)
        axes.set_yticks(rows, [name for name, _ in groups], fontsize=9)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="training rows", ylabel="client" if len(groups) == len(record.clients) else "")
        if record.labelled:
            legend(figure, axes)

    note = f"Partition: {partition_text(run)}; {spread_text(record)}."
    if len(record.clients) > SINGLE_CLIENTS:
        note += " Clients of a group have similar most frequent labels; its bar is their mean."
    return plot("Training rows by client and label", draw, 1.1 + 0.22 * max(5, len(groups)), note)


def partition_groups(clients: Sequence[dict[int, int]]) -> list[tuple[str, list[dict[int, int]]]]:
    """(name, label counts of its clients) of each group. Its clients have similar most frequent labels, or sizes."""
    if len(clients) <= SINGLE_CLIENTS:
        return [(str(client), [counts]) for client, counts in enumerate(clients)]

    def likeness(client: int) -> tuple[list[int], int]:
        counts = clients[client]
        return sorted(counts, key=lambda label: (-counts[label], label))[:2], -sum(counts.values())

    order = sorted(range(len(clients)), key=likeness)
    parts = np.array_split(np.array(order), SINGLE_CLIENTS)
    return [(text_count(len(part), "client"), [clients[client] for client in part.tolist()]) for part in parts]


def _label(run: Run, label: int) -> str:
    words = run.config.data.label_words
    return short(words[label], 24) if label < len(words) else ("rows" if not words else f"label {label}")
