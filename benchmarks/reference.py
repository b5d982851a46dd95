"""What else reaches what on the built-in task: first-order AdamW, and central MeZO by the same engine.

AdamW is the ceiling: backpropagation through all parameters on pooled data, which no client of the federation could do.
Central MeZO is one client with all data and all blocks, one direction per step.
"""

import tempfile
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.rows import Row, make_row
from zorba_ray.artifacts import RunDir
from zorba_ray.config import load_config
from zorba_ray.data import BatchOrder
from zorba_ray.experiment import prepare, run_experiment
from zorba_ray.experiment.evaluate import Evaluator
from zorba_ray.models.answer_tokens import read_label_tokens
from zorba_ray.models.heads import LabelWordsHead, last_positions
from zorba_ray.models.logits import LinearLogits

ADAMW_STEPS, ADAMW_LR = 400, 1e-3
MEZO = [
    "federation.clients=1", "federation.fleet=null", "data.partition=iid", "data.batch_size=32", "zo.scope=bias_norm",
    "zo.directions=1", "zo.lr=0.001", "memory={frozen: device}",
]  # fmt: skip
"""Settings that turn the demo into central MeZO. It learns from norms and biases: of all tensors, in batches of 4, one
direction at a time did not learn at rates from 1e-4 to 1e-3. 1,920 pairs are half of the demo's passes, on four times
its examples."""


def rows(quick: bool) -> list[Row]:
    """Test accuracy and validation loss of both references; `quick` runs a tenth of the steps."""
    return [*adamw(ADAMW_STEPS // 10 if quick else ADAMW_STEPS), *mezo(192 if quick else 1920)]


def adamw(steps: int) -> list[Row]:
    """AdamW on all parameters of the built-in model, batch 32, linear decay, the loss of the label words."""
    config = load_config("demo", ["federation.backend=sequential", "data.batch_size=32"])
    setup = prepare(config)
    model, loaded = setup.model, setup.model.loaded
    network = loaded.network.requires_grad_(True)
    words = torch.tensor(read_label_tokens(loaded.tokenizer, config.data.prompt, config.data.label_words).tokens)
    order = BatchOrder(config.seed, 0, setup.shards.table.lengths, config.data.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=ADAMW_LR)
    pad = int(loaded.tokenizer.pad_token_id)
    for step in range(steps):
        ids, mask, labels = (torch.from_numpy(part) for part in setup.shards.table.collate(order.rows(step), pad)[:3])
        hidden = loaded.backbone(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        last = hidden[torch.arange(len(ids)), last_positions(mask)]
        loss = functional.cross_entropy(last @ network.get_output_embeddings().weight[words].T, labels)
        for group in optimizer.param_groups:
            group["lr"] = ADAMW_LR * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # The run's head holds the label words' rows of θ0: evaluate with the trained ones.
    with torch.inference_mode():
        model.head = LabelWordsHead(LinearLogits(network.get_output_embeddings().weight[words], None))
    found = {
        split: Evaluator(model, split, table).record(steps)
        for split, table in (("validation", setup.validation), ("test", setup.test))
    }
    accuracy = found["test"].accuracy
    assert accuracy is not None  # the head classifies
    return _rows(f"AdamW, {steps} steps", found["validation"].loss, accuracy)


def mezo(pairs: int) -> list[Row]:
    """Central MeZO through the ordinary run."""
    overrides = [*MEZO, f"rounds={pairs}", "federation.backend=sequential", "eval.every=480", "tracking.wandb=disabled"]
    config = load_config("demo", overrides)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "mezo", config)
        summary = run_experiment(config, run, "simulated", ["benchmarks"], lambda event: None, lambda: False)
    return _rows(f"central MeZO, {pairs} pairs", summary["final_loss"], summary["test_accuracy"])


def _rows(name: str, loss: float, accuracy: float) -> list[Row]:
    return [
        make_row(f"{name}: validation loss", [loss], "nats", "none, a reference", None),
        make_row(f"{name}: test accuracy", [accuracy], "", "none, a reference", None),
    ]
