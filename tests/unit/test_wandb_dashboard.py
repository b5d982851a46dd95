"""The dashboard as code: printed without key or network, and every metric that it names is one that a run logs."""

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.wandb_dashboard import LINES, MEDIA, PARALLEL_RESULTS, PARALLEL_SETTINGS, SCATTERS, main
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import read_metrics
from zorba_ray.config.base import flatten
from zorba_ray.experiment.tracking.wandb_records import allocation_values, history_row, summary_values

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb-workspaces

METRICS = [metric for panels in LINES.values() for metrics in panels.values() for metric in metrics]
FLEET = 'federation.fleet=[{"name": "all", "count": 4, "vram": "1GiB"}]'


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["wandb_dashboard", *arguments])
    main()


def test_dry_run_prints_the_view(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a dry run opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    _call(monkeypatch, "--project", "mine", "--entity", "me", "--group", "epsilon", "--dry-run")
    view = json.loads(capsys.readouterr().out)
    assert (view["entity"], view["project"]) == ("me", "mine")
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == list(LINES)
    wanted = {
        name: len(panels) + len(SCATTERS.get(name, ())) + len(MEDIA.get(name, ())) for name, panels in LINES.items()
    }
    wanted["Sweeps"] += 1  # parallel coordinates
    assert {section["name"]: len(section["panels"]) for section in sections} == wanted
    printed = json.dumps(view)
    assert [metric for metric in METRICS if json.dumps(metric) not in printed] == []
    assert '"value": "epsilon"' in printed


def test_every_metric_is_one_that_a_run_logs(tmp_path: Path) -> None:
    """Read from a real run's own files, by the functions that make W&B's rows and summary."""
    config = tiny_config("memory.frozen=host", FLEET)
    summary = run_here(config, tmp_path / "run")
    rows = [history_row(record.tree()) for record in read_metrics(tmp_path / "run/metrics.jsonl")]
    history = {name for row in rows for name in row}
    allocation = json.loads((tmp_path / "run/allocation.json").read_text(encoding="utf-8"))
    final = history | set(summary_values(summary)) | set(allocation_values(allocation))
    for metric in METRICS:
        assert any(re.fullmatch(metric, name) for name in history), metric
    across = {name for panels in SCATTERS.values() for pair in panels.values() for name in pair}
    assert across | set(PARALLEL_RESULTS) <= final
    assert set(PARALLEL_SETTINGS) <= set(flatten(config.resolved()))
    # as test_tracking_wandb reads back
    assert MEDIA == {"Memory": [("allocation/table",)]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "--entity is needed"), (("--entity", "me"), "no W&B key: set WANDB_API_KEY")],
)
def test_what_saving_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit):
        _call(monkeypatch, *arguments)
    assert message in capsys.readouterr().err


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(SystemExit, match=r"pip install zorba-ray\[workspaces\]"):
        _call(monkeypatch, "--dry-run")
