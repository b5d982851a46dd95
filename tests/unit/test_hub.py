"""A hub that cannot be reached is told in seconds, by one line that says what helps."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fake_hub import FakeHub, serving
from tests.support.tiny_run import tiny_config
from zorba_ray.artifacts import HubPin, pinned
from zorba_ray.config import DataConfig, ModelConfig
from zorba_ray.data.files import hub_files
from zorba_ray.errors import DataError, ModelError
from zorba_ray.hub import hub_answers, hub_commit
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


def test_a_branch_becomes_the_commit_that_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    model, data = "models/someone/tiny", "datasets/someone/films"
    with serving(FakeHub({model: [tmp_path / "a", tmp_path / "b"], data: [tmp_path]})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.url)
        hub_answers.cache_clear()
        first, newest = hub.commit(model, 0), hub.commit(model)
        assert hub_commit("model", "someone/tiny", None) == newest == hub_commit("model", "someone/tiny", "main")
        assert hub_commit("model", "someone/tiny", first) == first
        assert hub_commit("dataset", "someone/films", None) == hub.commit(data)
        assert hub_commit("model", "someone/other", None) is None
        assert hub_commit("model", "someone/tiny", "gone") is None
    hub_answers.cache_clear()


def test_without_a_network_it_is_the_one_that_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zorba_ray.hub.hub_answers", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refs = tmp_path / "models--someone--tiny" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("5" * 40)
    assert hub_commit("model", "someone/tiny", None) == "5" * 40
    assert hub_commit("model", "someone/tiny", "v2") is None


@pytest.mark.parametrize("path", ["builtin", "package:x", "./a/b", "/a/b", "~/a", "a/b/c"])
def test_what_is_no_hub_id_is_not_asked_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zorba_ray.hub.hub_answers", lambda: pytest.fail("asked"))
    assert hub_commit("model", path, None) is None


def test_pins_replace_what_was_asked_for_and_nothing_else() -> None:
    hub = {"model": HubPin(path="someone/tiny", asked="main", revision="5" * 40)}
    config = tiny_config("model.path=someone/tiny", "model.revision=main")
    assert pinned(config, hub).model.revision == "5" * 40
    other = tiny_config("model.path=someone/tiny", "model.revision=v2")
    assert pinned(other, hub) == other
    assert pinned(config, hub).data == config.data
