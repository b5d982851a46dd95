"""Whole runs against committed values: any change of a loss, a ledger or θ is seen here first."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tools.golden import COMMANDS, GOLDEN, origin, values

GIVEN: dict[str, Any] = json.loads((GOLDEN / "runs.json").read_text("utf-8"))


def test_the_committed_ledger_replays_to_one_sha256_everywhere(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "demo", tmp_path / "demo")
    outcome = cli("replay", tmp_path / "demo")
    assert outcome.code == 0, outcome.err
    assert GIVEN["demo"]["."]["weights_sha256"] in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_a_fresh_run_gives_the_golden_values(cli: Cli, tmp_path: Path, name: str) -> None:
    """To 1e-4 on any machine; to the last bit where torch and processor are those that the values come from."""
    outcome = cli(*COMMANDS[name], tmp_path / name)
    assert outcome.code == 0, outcome.err
    found = values(tmp_path / name)
    assert found.keys() == GIVEN[name].keys()
    if origin() == GIVEN["origin"]:
        assert found == GIVEN[name]
    for run, given in GIVEN[name].items():
        for losses in ("training_loss", "validation_loss"):
            assert found[run][losses] == pytest.approx(given[losses], abs=1e-4), (run, losses)
