"""`zo.scope: auto`: sets of tensors, the probe of them, the choice, and that a run keeps what it chose."""

import itertools
from pathlib import Path

import pytest

from tests.support.tiny_models import BLOCKS, tiny_task_model
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.errors import ConfigError, Interrupted
from zorba_ray.experiment import scope as scopes
from zorba_ray.experiment.replay import replay_run
from zorba_ray.protocol.ledger import read_ledger


def test_finer_sets_are_parts_of_the_coarser_ones() -> None:
    manifest = tiny_task_model("opt").replica.manifest
    for whole, *parts in (
        ("all", "matrices", "bias_norm"),
        ("bias_norm", "biases", "norm_weights"),
        ("matrices", "attention", "feed_forward"),
    ):
        for block in range(BLOCKS):
            names = [[entry.name for entry in manifest.scoped(block, part)] for part in parts]  # type: ignore[arg-type]
            own = [entry.name for entry in manifest.scoped(block, whole)]  # type: ignore[arg-type]
            assert sorted(itertools.chain.from_iterable(names)) == sorted(own)
            assert all(names)


def probe(**changes: float | None) -> scopes.ScopeProbe:
    return scopes.ScopeProbe(dict(changes), 100)  # type: ignore[arg-type]


def test_the_set_that_lowers_the_loss_most_is_chosen() -> None:
    assert probe(all=None, matrices=0.2, bias_norm=-0.1).scope == "bias_norm"
    assert probe(all=-0.3, matrices=-0.2, bias_norm=-0.1).scope == "all"
    line = probe(all=None, bias_norm=-0.1).line()
    assert "bias_norm lowers the validation loss most" in line
    assert "all destroys the model" in line


def test_small_rates_take_many_tensors_and_large_ones_a_few() -> None:
    chosen = {rate: scopes.probe_scopes(tiny_config("zo.scope=auto", f"zo.lr={rate}")).scope for rate in (1e-3, 1e-2)}
    assert chosen == {1e-3: "all", 1e-2: "bias_norm"}


def test_a_rate_at_which_every_set_raises_the_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"zo\.lr=0\.1 with zo\.scope=auto: .*\(all \+.*smaller rate"):
        scopes.probe_scopes(tiny_config("zo.scope=auto", "zo.lr=0.1"))


def test_with_low_rank_vectors_alone_are_no_choice() -> None:
    assert set(scopes.probe_scopes(tiny_config("zo.scope=auto", "zo.rank=1", "zo.lr=0.001")).changes) == {
        "all",
        "matrices",
    }


def test_a_run_keeps_what_it_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, resumed with auto or by name, replayed: the weights of a run that named the scope."""
    auto, path = tiny_config("zo.scope=auto"), tmp_path / "run"
    done: list[int] = []
    notes: list[str] = []

    def emit(event: dict[str, object]) -> None:
        done.extend([1] if event["kind"] == "round" else [])
        notes.extend([str(event["text"])] if event["kind"] == "note" else [])

    with pytest.raises(Interrupted):
        run_here(auto, path, emit=emit, should_stop=lambda: len(done) >= 1)
    scope = read_ledger(path / "ledger.zl").header.scope
    assert notes[0].startswith(f"zo.scope=auto: {scope} lowers ")
    monkeypatch.setattr(scopes, "with_scope", None)  # nothing is probed twice
    summary = run_here(auto, path)
    named = run_here(tiny_config(f"zo.scope={scope}"), tmp_path / "named")
    assert summary["weights_sha256"] == named["weights_sha256"]
    assert replay_run(path, None, None, None).confirmed


def test_what_cannot_be_chosen_or_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="method=fedavg cannot choose a scope by a probe"):
        tiny_config("method=fedavg", "zo.scope=auto")
    with pytest.raises(ConfigError, match="name a scope"):
        _ = tiny_config("zo.scope=auto").zo.fixed_scope
