"""One private Ray for the whole test session, on loopback, with its own folder; ended by its own handle."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from benchmarks.chaos.token_head import TokenHead, token_head


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A joined Ray of 8 logical CPUs and 2 logical GPUs."""
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    folder = tempfile.mkdtemp(prefix="zt-")
    ray.init(
        num_cpus=8,
        num_gpus=2,
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _temp_dir=folder,
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def head() -> Iterator[TokenHead]:
    """One token-authenticated Ray head for all tests of jobs and metrics."""
    with token_head() as running:
        yield running
