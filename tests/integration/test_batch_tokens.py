"""Batches by tokens in whole runs: memory, probes, resumes, and what refuses them."""

from pathlib import Path

import pytest

from tests.support.tiny_run import batches_of, run_here, tiny_config
from zorba_ray.campaigns.comparison.cells import plan_comparison
from zorba_ray.config import config_from_tree
from zorba_ray.directions import uniforms
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.build import build_host, prepare
from zorba_ray.experiment.replay import replay_run

FEW = ("rounds=2", "eval.every=2", "data.max_length=20", "data.batch_size=16", "data.train_rows=64", "eval.rows=16")


def test_no_batch_has_more_tokens(tmp_path: Path) -> None:
    setup = prepare(tiny_config(*FEW, "data.batch_tokens=48"))
    seen = set()
    for client in range(4):
        for number in range(1, 9):
            (batch,) = batches_of(setup, client, number)
            assert batch.ids_BT.numel() <= 48
            seen.add(len(batch.ids_BT))
    assert len(seen) > 1, "short rows come in larger batches"
    host = build_host(setup.config, setup.header, setup.model)
    host.load_shards(setup.shards)
    assert host.batches is not None
    for batch in (*host.batches.of_probe(0, 1), host.batches.drawn(1, uniforms(0, "probe", 1, 0, 16))):
        assert batch.ids_BT.numel() <= 48


def test_memory_follows_the_tokens() -> None:
    """32 rows of at most 20 tokens are 640; of 160 tokens a quarter of the hidden states is held."""
    full, slim, even = (
        prepare(tiny_config(*FEW, "data.batch_size=32", *more)).memory.of(None)
        for more in ((), ("data.batch_tokens=160",), ("data.batch_tokens=640",))
    )
    assert even.parts == full.parts, "a limit that no batch meets"
    assert slim.parts["activations"] == pytest.approx(full.parts["activations"] / 4, rel=1e-3)


def test_a_run_is_replayed_and_the_same_after_a_resume(tmp_path: Path) -> None:
    config = tiny_config(*FEW, "data.batch_tokens=48")
    summary = run_here(tiny_config(*FEW, "data.batch_tokens=48", "rounds=1", "zo.schedule=constant"), tmp_path / "run")
    assert summary["forward_passes_per_client"] == config.passes_per_round
    on = run_here(tiny_config(*FEW, "data.batch_tokens=48", "zo.schedule=constant"), tmp_path / "run")
    straight = run_here(tiny_config(*FEW, "data.batch_tokens=48", "zo.schedule=constant"), tmp_path / "straight")
    assert on["weights_sha256"] == straight["weights_sha256"]
    assert replay_run(tmp_path / "run", None, None, None).confirmed


def test_who_refuses_batches_by_tokens() -> None:
    with pytest.raises(ConfigError, match=r"batch_tokens=64 is less than max_length=128.*raise batch_tokens to 128"):
        config_from_tree({"data": {"batch_tokens": 64}}, "test")
    with pytest.raises(ConfigError, match=r"data\.batch_tokens=256 with method=fedavg.*backpropagates.*=null"):
        config_from_tree({"method": "fedavg", "data": {"batch_tokens": 256}}, "test")
    for setting, said in (("data.batch_tokens=256", "counts forward passes"), ("eval.patience=2", "same forward")):
        with pytest.raises(ConfigError, match=said):
            plan_comparison(tiny_config(setting), ["zorba", "mezo"], 1, {}, 0.5, {})
