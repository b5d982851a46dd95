"""What a scalar of a task is made of, and what a larger batch or a correction of label shares would gain per pass.

    python -m benchmarks.contest.signal TASK [--after RUN_DIR] [--batches 4]

With g_n the gradient of client n's loss by the tensors in scope, p_n its share of the data and σ² the variance of one
example's gradient, a scalar ρ has E[ρ²] = Σ p_n ‖g_n‖² + σ²/B. Of it, only what lies along ∇F lowers the loss: with ḡ
the clients' mean gradient, a step of the best rate gains ⟨ḡ, ∇F⟩² / (2 E[ρ²] tr H) per direction (the descent of one
random direction, MeZO's Lemma 2, arXiv 2305.17333). By backpropagation: a diagnosis, nothing that a federation runs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.contest.tasks import TASKS
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ZorbaError
from zorba_ray.experiment.build import Setup, build_host, prepare
from zorba_ray.federation import ClientBatches
from zorba_ray.protocol.ledger import read_ledger

SHARES = (0.0, 0.5, 1.0)
"""κ that are looked at."""
SIZES = (8, 16, 32, 64)
"""B that are looked at."""


@dataclass(frozen=True)
class Moments:
    """Of one κ."""

    along: float
    """⟨ḡ, ∇F⟩."""
    clients: float
    """Σ p_n ‖g_n‖²."""
    example: float
    """σ²."""

    def scalar(self, batch: int) -> float:
        """E[ρ²] at a batch size."""
        return self.clients + self.example / batch

    def gain(self, batch: int) -> float:
        """⟨ḡ, ∇F⟩² / E[ρ²]; negative where ḡ leads away."""
        return self.along * abs(self.along) / self.scalar(batch)


def moments(plain: torch.Tensor, own: torch.Tensor, weights: Sequence[float], size: int) -> Moments:
    """Unbiased, from gradients of independent batches.

    Args:
        plain, own: fp32 [n, k, d], of k batches of each client without correction, and of others with it.
        weights: p_n.
        size: B of these batches.
    """
    shares = torch.tensor(weights, dtype=torch.float32)
    count = own.shape[1]
    along = float((shares @ plain.mean(1)) @ (shares @ own.mean(1)))
    squares = (own**2).sum(dim=(1, 2))
    apart = ((own.sum(1) ** 2).sum(1) - squares) / (count * (count - 1))
    noise = (squares / count - apart) * size
    return Moments(along, float(shares @ apart), float(shares @ noise))


def measure(setup: Setup, shares: Sequence[float], batches: int) -> dict[float, Moments]:
    """κ -> moments at the setup's θ, on clients with at least two batches' examples."""
    config, size = setup.config, setup.config.data.batch_size
    clients = [client for client, count in enumerate(setup.samples) if count >= 2 * size]
    if not clients:
        raise SystemExit(f"no client has {2 * size} examples: lower data.batch_size")
    total = sum(setup.samples[client] for client in clients)
    weights = [setup.samples[client] / total for client in clients]
    plain = _gradients(setup, config, clients, batches, 0)
    found = {}
    for share in shares:
        data = config.data.model_copy(update={"label_shift": share})
        own = _gradients(setup, config.model_copy(update={"data": data}), clients, batches, 1)
        found[share] = moments(plain, own, weights, size)
    return found


def _gradients(setup: Setup, config: ExperimentConfig, clients: Sequence[int], batches: int, draw: int) -> torch.Tensor:
    """fp32 [n, k, d]."""
    pad = int(setup.model.loaded.tokenizer.pad_token_id)
    examples = ClientBatches(config, setup.shards, pad, setup.model.device)
    rows = []
    for client in clients:
        random = np.random.default_rng([config.seed, client, draw])
        drawn = random.choice(setup.samples[client], size=(batches, config.data.batch_size))
        rows.append(torch.stack([_gradient(setup, examples, client, own) for own in drawn]))
    return torch.stack(rows)


def _gradient(setup: Setup, examples: ClientBatches, client: int, rows: np.ndarray) -> torch.Tensor:
    """fp32 [d], by the tensors in scope of all blocks."""
    replica, scope = setup.model.replica, setup.config.zo.fixed_scope
    tensors = {
        entry.name: setup.model.master(entry).view(entry.shape).requires_grad_(True)
        for entry in replica.manifest.moved(scope)
    }
    loss = setup.model.training_loss(examples.batch(client, rows), tensors)
    found = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)
    parts = zip(tensors.values(), found, strict=True)
    return torch.cat([(torch.zeros_like(tensor) if part is None else part).flatten() for tensor, part in parts])


def _prepared(base: ExperimentConfig, after: Path | None) -> Setup:
    """At θ0, or where the run in `after` ended."""
    if after is None:
        return prepare(base)
    run = RunDir(after)
    setup = prepare(run.read_config())
    state = build_host(setup.config, setup.header, setup.model).state
    state.catch_up(record.body for record in read_ledger(run.ledger).records)
    return setup


def main() -> None:
    """Prints one line per κ and B."""
    known = {task.name: task for task in TASKS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contest.signal", description=__doc__)
    parser.add_argument("task", choices=list(known))
    parser.add_argument("--after", type=Path, help="a run directory of the task: θ at its end instead of θ0")
    parser.add_argument("--batches", type=int, default=4, help="of each client, twice; at least 2")
    arguments = parser.parse_args()
    if arguments.batches < 2:
        parser.error(f"--batches {arguments.batches}: at least 2")
    base = known[arguments.task].settings()
    if base is None:
        parser.error("model or data are not there: `make minilm`, and ZORBA_SHARED")
    try:
        setup = _prepared(base, arguments.after)
    except ZorbaError as error:
        parser.error(str(error))
    found = measure(setup, SHARES, arguments.batches)
    unit = found[0.0].gain(setup.config.data.batch_size)
    for share, own in found.items():
        print(
            f"label_shift {share:g}: along {own.along:.3g}, clients {own.clients:.3g}, example {own.example:.4g}; "
            "batch: E[ρ²], gain per pass as a multiple of the task's own batch without shift: "
            + "; ".join(f"{size}: {own.scalar(size):.3g}, {own.gain(size) / unit:.2f}" for size in SIZES)
        )


if __name__ == "__main__":
    main()
