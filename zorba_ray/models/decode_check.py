"""Whether decoding writes what the untouched model finds likeliest, judged before a run begins.

Each token of a few short answers must have the highest logit of the untouched model, which reads prompt and answer in
one pass, row by row, without padding and without a cache: up to rounding, as two tokens may be equally likely.
"""

from collections.abc import Sequence

import torch

from zorba_ray.errors import ModelError
from zorba_ray.formats import Format
from zorba_ray.models.decode import prompts_of
from zorba_ray.models.heads import Batch
from zorba_ray.models.loaded import running
from zorba_ray.models.logits import CLOSE
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.plain_loss import PlainLoss, PlainStep
from zorba_ray.models.task import TaskModel

_NEW = 4
"""Tokens that are written."""
_MOVE = Perturbation(0x5EED, 0, 0.01, "rademacher")


@torch.inference_mode()
def check_decoding(
    model: TaskModel, plain: PlainLoss, batch: Batch, signs: Sequence[float] = (), format: Format = "compute"
) -> None:
    """Holds the answers of a model at θ, and at θ + sign · μz for each sign, against the plain model.

    Args:
        batch: rows of different length.
        format: of frozen matrices, in which the model's placement keeps them.

    Raises:
        ModelError: a token that is not the likeliest, or an answer that ends too early.
    """
    assert model.decoder is not None
    prompts, every = prompts_of(batch), frozenset(range(model.replica.manifest.blocks))
    with running(model.loaded.label):
        with model.moved(frozenset()):
            answers = model.decoder.tokens(prompts, _NEW)
        _hold(model, plain, prompts, answers, None)
        for sign in signs:
            with model.moved(every, _MOVE, sign):
                answers = model.decoder.tokens(prompts, _NEW)
            _hold(model, plain, prompts, answers, PlainStep(every, _MOVE, sign, format=format))


def _hold(
    model: TaskModel,
    plain: PlainLoss,
    prompts: Sequence[list[int]],
    answers: Sequence[list[int]],
    step: PlainStep | None,
) -> None:
    assert model.decoder is not None
    ending = model.decoder.ending
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1):
        logits = plain.logits([*prompt, *answer], step)[len(prompt) - 1 :]
        allowed = CLOSE[model.compute] * max(1.0, float(logits.abs().max()))
        written: list[tuple[str, float]] = [
            (f"token {number} of row {row}", float(seen.max() - seen[token]))
            for number, (seen, token) in enumerate(zip(logits, answer, strict=False), start=1)
        ]
        if len(answer) < min(_NEW, ending.max_new_tokens) and not ending.texts:
            likely = max(float(logits[-1][token]) for token in ending.tokens)
            written.append((f"the end of row {row}", float(logits[-1].max()) - likely))
        for what, behind in written:
            if not behind <= allowed:
                where = "" if step is None else f" at sign {step.sign:+.0f}"
                raise ModelError(
                    f"model.path={model.loaded.label}: {what}{where} is not what the model itself writes: its logit is "
                    f"{behind:.3g} below the highest, where {allowed:.2g} is rounding. Answers would be another "
                    "model's, so this run is refused: take task.kind=completion, or another model"
                )
