"""A hub that cannot be reached is told in seconds, by one line that says what helps."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zorba_ray.config import DataConfig, ModelConfig
from zorba_ray.data.tasks import hub_files
from zorba_ray.errors import DataError, ModelError
from zorba_ray.hub import hub_answers
from zorba_ray.models.load import load_settings


@contextmanager
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes connections and never answers."""
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        hub_answers.cache_clear()
        yield
    hub_answers.cache_clear()


def test_a_mute_hub_costs_seconds(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    import datasets  # noqa: F401  imported before the clock runs

    began = time.monotonic()
    with mute(monkeypatch):
        with pytest.raises(ModelError, match=r"the hub does not answer.*set model\.path=DIR.*HF_HUB_OFFLINE=1"):
            load_settings(ModelConfig(path="owner/model"))
        with pytest.raises(DataError, match=r"the hub does not answer.*point data\.path to a folder"):
            hub_files(DataConfig(path="owner/data").path)
    assert time.monotonic() - began < 5
    assert capfd.readouterr().err == ""
