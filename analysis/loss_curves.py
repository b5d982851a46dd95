"""Validation loss and accuracy against rounds and against forward pairs, one line per run directory.

python -m analysis.loss_curves runs/a runs/b -o loss     # writes loss.pdf and loss.png
"""

import argparse
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

from zorba_ray.report import load_run

mpl.use("Agg")


def main() -> None:
    """Draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("-o", "--out", type=Path, default=Path("loss"), help="file name without ending")
    arguments = parser.parse_args()
    pyplot.style.use("tableau-colorblind10")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for path in arguments.runs:
        run = load_run(path)
        records = run.split("validation")
        rounds = [record.round for record in records]
        losses = [record.loss for record in records]
        pairs = run.config.zo.directions * run.config.zo.local_steps
        label = f"{run.config.name}, seed {run.config.seed}"
        left.plot(rounds, losses, marker=".", label=label)
        right.plot([number * pairs for number in rounds], losses, marker=".", label=label)
    left.set(xlabel="round", ylabel="validation loss")
    right.set(xlabel="forward pairs per client")
    right.legend(frameon=False)
    for ending in ("pdf", "png"):
        figure.savefig(arguments.out.with_suffix(f".{ending}"), dpi=200)


if __name__ == "__main__":
    main()
