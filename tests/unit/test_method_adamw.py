"""AdamW in one place: it is FedAvg's round with one client, and nothing else."""

from pathlib import Path

import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.errors import ConfigError

TINY = {"adamw": ("federation.clients=1", "method_settings.lr=0.003", "method_settings.local_steps=2")}


def test_it_is_fedavg_with_one_client(tmp_path: Path) -> None:
    """Whose steps test_method_fedavg holds against plain PyTorch."""
    settings = (*TINY["adamw"], "zo.scope=all", "rounds=2", "eval.every=2")
    here = run_here(tiny_config("method=adamw", *settings), tmp_path / "here")
    fedavg = ("method=fedavg", *settings, "method_settings.optimizer=adamw")
    assert here["weights_sha256"] == run_here(tiny_config(*fedavg), tmp_path / "fedavg")["weights_sha256"]
    with pytest.raises(ConfigError, match=r"federation\.clients=4: adamw has one client with all data"):
        tiny_config("method=adamw", "federation.clients=4")
