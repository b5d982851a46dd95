"""A sink that fails is off from then on, with one warning; the others and the run go on."""

import logging
from pathlib import Path
from typing import Any

import pytest

from zorba_ray.experiment.tracking import Fanout


class _Sink:
    """Notes its calls; raises in those named."""

    def __init__(self, *raising: str) -> None:
        self.raising = raising
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.raising:
            raise ValueError(f"{name} broke")

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        self._call("start")

    def log(self, record: dict[str, Any]) -> None:
        self._call("log")

    def artifact(self, path: Path, kind: str) -> None:
        self._call("artifact")

    def finish(self, summary: dict[str, Any]) -> str | None:
        self._call("finish")
        return "wandb sync DIR"


def _drive(fanout: Fanout) -> list[str]:
    fanout.start({}, {})
    fanout.log({"kind": "round", "round": 1})
    fanout.log({"kind": "round", "round": 2})
    fanout.artifact(Path("ledger.zl"), "ledger")
    return fanout.finish({})


ALL = ["start", "log", "log", "artifact", "finish"]


@pytest.mark.parametrize(
    ("stage", "calls"), [("start", ALL[:1]), ("log", ALL[:2]), ("artifact", ALL[:4]), ("finish", ALL)]
)
def test_a_raising_sink_is_off_and_the_other_hears_everything(
    caplog: pytest.LogCaptureFixture, stage: str, calls: list[str]
) -> None:
    bad, good = _Sink(stage), _Sink()
    with caplog.at_level(logging.WARNING):
        assert _drive(Fanout([bad, good])) == ["wandb sync DIR"]
    assert bad.calls == calls
    assert good.calls == ALL
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"_Sink failed (ValueError: {stage} broke)" in caplog.text


def test_no_sinks() -> None:
    assert _drive(Fanout([])) == []


def test_an_interrupt_is_not_swallowed() -> None:
    class Interrupted(_Sink):
        def log(self, record: dict[str, Any]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _drive(Fanout([Interrupted()]))
