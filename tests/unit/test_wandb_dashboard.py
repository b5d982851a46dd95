"""The dashboard as code: printed without key or network, and every metric that it names is one that a run logs."""

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.wandb_dashboard import SECTIONS, Lines, Media, Parallel, Scatter, main
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import read_metrics
from zorba_ray.experiment.tracking.wandb_records import allocation_values, history_row, summary_values

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb-workspaces

PANELS = [panel for panels in SECTIONS.values() for panel in panels]
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
    assert [section["name"] for section in sections] == list(SECTIONS)
    assert [len(section["panels"]) for section in sections] == [len(panels) for panels in SECTIONS.values()]
    printed = json.dumps(view)
    named = [m for panel in PANELS if isinstance(panel, Lines) for m in panel.metrics]
    assert [metric for metric in named if f'"{metric}"' not in printed] == []
    assert '"value": "epsilon"' in printed


def test_every_metric_is_one_that_a_run_logs(tmp_path: Path) -> None:
    """Read from a real run's own files, by the functions that make W&B's rows and summary."""
    config = tiny_config("memory.frozen=host", FLEET)
    summary = run_here(config, tmp_path / "run")
    rows = [history_row(record.tree()) for record in read_metrics(tmp_path / "run/metrics.jsonl")]
    history = {name for row in rows for name in row}
    allocation = json.loads((tmp_path / "run/allocation.json").read_text(encoding="utf-8"))
    final = history | set(summary_values(summary)) | set(allocation_values(allocation))
    for panel in PANELS:
        match panel:
            case Lines():
                assert set(panel.metrics) <= history, panel.title
                if panel.pattern:
                    assert [name for name in history if re.fullmatch(panel.pattern, name)], panel.title
                assert panel.metrics or panel.pattern
            case Scatter():
                assert {panel.x, panel.y} <= final, panel.title
            case Parallel():
                assert set(panel.results) <= final, panel.title
                for setting in panel.settings:
                    section, _, name = setting.rpartition(".")
                    tree = config.resolved()
                    assert name in (tree[section] if section else tree), setting
            case Media():
                assert set(panel.keys) == {"allocation/table"}  # as test_tracking_wandb reads back


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
