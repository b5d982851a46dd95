"""The figure of the partition: whose bar is how long, and how many clients become few rows."""

import json
from pathlib import Path

from tests.support.fake_run import write_fake_run
from zorba_ray.artifacts import PartitionRecord, Run
from zorba_ray.report.figure import SINGLE_CLIENTS
from zorba_ray.report.headline import summary_table
from zorba_ray.report.partition_figure import partition_groups, partition_plot, partition_text, spread_text


def run_with(path: Path, clients: list[dict[int, int]], labelled: bool = True) -> Run:
    write_fake_run(path, rounds=2)
    tree = {"labelled": labelled, "clients": [{str(k): v for k, v in own.items()} for own in clients]}
    (path / "partition.json").write_text(json.dumps(tree), encoding="utf-8")
    return Run(path)


def test_few_clients_have_a_bar_each() -> None:
    clients = [{0: 3, 1: 1}, {1: 5}]
    assert partition_groups(clients) == [("0", [clients[0]]), ("1", [clients[1]])]


def test_many_clients_are_grouped_by_their_labels() -> None:
    """50 clients of label 0 and 50 of label 1, mixed: no group has both."""
    clients = [{place % 2: 5 + place} for place in range(100)]
    groups = partition_groups(clients)
    assert len(groups) == SINGLE_CLIENTS
    assert sum(len(part) for _, part in groups) == 100
    assert sum(len({label for own in part for label in own}) > 1 for _, part in groups) <= 1, "one group at the border"


def test_a_run_shows_its_partition(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", [{0: 30, 1: 10}, {1: 5}])
    shown = partition_plot(run)
    assert shown is not None
    assert "rows of a client: 5–40, median 22.5; labels of a client: 1–2" in shown.note
    assert "terrible" in shown.svg
    assert "great" in shown.svg
    rows = {what: (value, more) for what, value, more in summary_table(run).items}
    assert rows["Partition of the training rows"] == ("iid", spread_text(PartitionRecord(
        labelled=True, clients=({0: 30, 1: 10}, {1: 5})
    )))  # fmt: skip


def test_many_labels_share_a_colour(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", [{label: 20 - label for label in range(9)}])
    shown = partition_plot(run)
    assert shown is not None
    assert "3 other labels" in shown.svg


def test_rows_without_labels(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", [{0: 4}] * 60, labelled=False)
    shown = partition_plot(run)
    assert shown is not None
    assert "rows of a client: 4, median 4." in shown.note
    assert "labels" not in spread_text(run.partition)  # type: ignore[arg-type]


def test_an_older_run_has_none(tmp_path: Path) -> None:
    run = Run(write_fake_run(tmp_path / "run", rounds=2))
    assert run.partition is None
    assert partition_plot(run) is None
    assert "Partition of the training rows" not in [what for what, *_ in summary_table(run).items]


def test_the_settings_read_as_words(tmp_path: Path) -> None:
    run = Run(write_fake_run(tmp_path / "run", rounds=2))
    data = run.config.data.model_copy(update={"partition": "label_shards", "labels_per_client": 1})
    run.config = run.config.model_copy(update={"data": data})
    assert partition_text(run) == "label shards, 1 label per client"
