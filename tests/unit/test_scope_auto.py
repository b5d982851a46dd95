"""`zo.scope: auto`: sets of tensors, the probe of them, the choice, and that a run keeps what it chose."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.tiny_models import BLOCKS, tiny_batch, tiny_task_model
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.errors import ConfigError, Interrupted
from zorba_ray.experiment import scope as scopes
from zorba_ray.experiment.replay import replay_run
from zorba_ray.models import Perturbation, Scope
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.zo import UpdateRule
from zorba_ray.zo.scope_probe import SUITED_RATIO, choose_scope, curvature_ratio, present, scope_curvatures, suited_rate

RULE = UpdateRule(7, "per_client", "data", "rademacher", "all", 3, 1, (4, 4))


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
    assert present(tiny_task_model("llama").replica.manifest, ("all", "biases")) == ["all"]


@pytest.mark.parametrize("scope", ["bias_norm", "attention", "biases"])
def test_a_pair_on_some_tensors_is_that_of_a_model_with_that_scope(scope: Scope) -> None:
    active, batch = frozenset(range(BLOCKS)), tiny_batch("opt", 4, 7)
    wide, narrow = tiny_task_model("opt"), tiny_task_model("opt", scope)
    own = Perturbation(3, 0, 0.01, "rademacher", only=scope)
    found = wide.pair(wide.prepare(batch, active), own)
    assert found == narrow.pair(narrow.prepare(batch, active), Perturbation(3, 0, 0.01, "rademacher"))
    assert found != wide.pair(wide.prepare(batch, active), Perturbation(3, 0, 0.01, "rademacher"))


def test_curvatures_are_means_over_pairs_and_batches() -> None:
    model = tiny_task_model("opt")
    before = model.replica.digest()
    batches = [tiny_batch("opt", 4, 7, seed=seed) for seed in range(3)]
    found = scope_curvatures(model, RULE, 0.01, ("all", "bias_norm"), 5, batches)
    assert model.replica.digest() == before
    assert found["all"] > found["bias_norm"] > 0
    each = [scope_curvatures(model, RULE, 0.01, ("bias_norm",), 5, [batch])["bias_norm"] for batch in batches]
    assert found["bias_norm"] == pytest.approx(sum(each) / 3)


def test_the_bend_is_the_gauss_newton_part() -> None:
    """By hand from the logits at both signs: Var_p of their slope, and the slope of the loss."""
    model, active = tiny_task_model("opt"), frozenset(range(BLOCKS))
    own, batch = Perturbation(3, 0, 0.002, "rademacher"), tiny_batch("opt", 4, 7)
    prepared = model.prepare(batch, active)
    logits: list[torch.Tensor] = []
    kept = model.head.logits
    model.head.logits = lambda hidden, own_batch: logits.append(kept(hidden, own_batch)) or logits[-1]  # type: ignore[method-assign, func-returns-value]
    rho, bend = model.gauss_newton_quadratic(prepared, own)
    plus, minus = (one.double().numpy() for one in logits[-2:])
    slope, middle = (plus - minus) / 0.004, (plus + minus) / 2
    likely = np.exp(middle) / np.exp(middle).sum(axis=1, keepdims=True)
    mean = (likely * slope).sum(axis=1, keepdims=True)
    assert bend == pytest.approx((likely * (slope - mean) ** 2).sum(axis=1).mean())
    labels = batch.labels_B.numpy()
    residual = likely - np.eye(likely.shape[1])[labels]
    assert rho == pytest.approx((residual * slope).sum(axis=1).mean(), rel=2e-3)


def test_the_choice_is_the_set_that_the_rate_suits() -> None:
    found: dict[Scope, float] = {"all": 160.0, "matrices": 150.0, "bias_norm": 10.0}
    # n = 16: ratios 0.03, 0.028 and 0.0019 at 0.003, and ten times that at 0.03.
    assert choose_scope(found, 0.001, 16) == "all"
    assert choose_scope(found, 0.003, 16) == "matrices"
    assert choose_scope(found, 0.03, 16) == "bias_norm"
    assert choose_scope(found, 3.0, 16) == "bias_norm", "the coolest where all are hot"
    for curvature in found.values():
        rate = suited_rate(curvature, 16)
        assert rate is not None
        assert curvature_ratio(curvature, rate, 16) == pytest.approx(SUITED_RATIO)
    assert choose_scope({"all": 0.0, "bias_norm": 0.0}, 0.03, 16) == "all"


def test_the_rate_that_suits_a_set_has_the_ratio_of_one_that_suits() -> None:
    alone = scopes.probe_scopes(tiny_config("zo.scope=bias_norm"), ("bias_norm",))
    rate = alone.suited_rate("bias_norm")
    assert rate is not None
    _, probe = scopes.with_scope(tiny_config("zo.scope=auto", f"zo.lr={rate}"))
    assert probe is not None
    assert (probe.scope, probe.suited_rate("bias_norm")) == ("bias_norm", rate)
    assert alone.forward_pairs * len(probe.curvatures) == probe.forward_pairs


def test_pairs_of_a_round() -> None:
    assert scopes.pairs_per_round(tiny_config("zo.directions=3")) == 12
    assert scopes.pairs_per_round(tiny_config("zo.directions=3", "federation.participants=0.5")) == 6
    assert scopes.pairs_per_round(tiny_config("zo.directions=3", "federation.seeds=shared")) == 3


def test_a_run_keeps_what_it_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, resumed with auto or by name, replayed: the weights of a run that named the scope."""
    monkeypatch.setattr(scopes, "PAIRS", 2)
    monkeypatch.setattr(scopes, "CLIENTS", 2)
    auto, path = tiny_config("zo.scope=auto"), tmp_path / "run"
    done: list[int] = []
    notes: list[str] = []

    def emit(event: dict[str, object]) -> None:
        done.extend([1] if event["kind"] == "round" else [])
        notes.extend([str(event["text"])] if event["kind"] == "note" else [])

    with pytest.raises(Interrupted):
        run_here(auto, path, emit=emit, should_stop=lambda: len(done) >= 1)
    scope = read_ledger(path / "ledger.zl").header.scope
    assert notes[0].startswith(f"zo.scope=auto: {scope} (")
    assert notes[0].endswith("; 12 forward pairs)")
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
