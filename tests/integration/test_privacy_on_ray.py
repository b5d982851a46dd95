"""Noise is a function of the clients' secret and of the plan: on Ray a run has the same SHA-256 as in one process."""

from pathlib import Path

import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.experiment.backends import ray_backend


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("method", [(), ("method=decomfl", "federation.seeds=shared")])
def test_on_ray_the_same(method: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "given.key").write_text("ab" * 32)
    private = ("privacy.clip=1", "privacy.target_epsilon=8", f"privacy.secret_file={tmp_path / 'given.key'}", *method)
    here = run_here(tiny_config(*private), tmp_path / "here")
    there = tiny_config(*private, "federation.backend=ray", "federation.workers=2", "federation.deadline_s=120")
    on_ray = run_here(there, tmp_path / "there", ray_backend)
    assert on_ray["weights_sha256"] == here["weights_sha256"]
    assert on_ray["privacy"] == here["privacy"]
