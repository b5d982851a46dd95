"""Writes docs/architectures.md: every architecture of the installed transformers, exact or refused. Some minutes.

python -m tools.architecture_table
"""

import sys

import torch
import transformers

from tests.support.architecture_matrix import COMMAND, MODES, PAGE, Row, row
from tests.support.architecture_tables import UNBUILDABLE, VARIANTS
from tests.support.architectures import BUILDABLE, TYPES


def main() -> None:
    """Checks all types and variants, and writes the page."""
    torch.set_num_threads(1)
    rows = []
    for name in (*BUILDABLE, *VARIANTS):
        print(name, file=sys.stderr, flush=True)
        rows.append(row(name))
    PAGE.write_text(page(rows), encoding="utf-8")


def page(rows: list[Row]) -> str:
    """The page in Markdown."""
    types = [each for each in rows if each.name in BUILDABLE]
    counts = {mode: sum(not each.outcomes[mode].refusal for each in types) for mode in MODES}
    lines = [
        "# Architectures",
        "",
        "Which model types give the right scalars, and which are refused. A run begins with a check of forward",
        "pairs against the untouched Hugging Face model (`zorba_ray/models/pair_check.py`); this page is what that",
        "check says of a tiny random network of every type that transformers maps as a causal or masked language",
        "model.",
        "",
        "- **exact**: the check passed. The number is the largest difference between a loss of this program and the",
        "  model's own, at most 1e-5 in fp32. In 16 bits it is within the rounding of that dtype.",
        "- **refused**: a run ends before its first round, with exit code 2 and a sentence that names the model and",
        "  what helps. The remark is that sentence, cut short.",
        "- **block by block**: the prefix of a batch is computed once for all its directions, and each block runs",
        "  for both signs. **two whole passes**: blocks of this type pass more than a hidden state to each other, so",
        "  that a pair is two forward passes of the whole model. As right, but slower.",
        "",
        "Low rank: `zo.rank=2`. 16 bits: matrices in bfloat16 beside fp32 vectors, as on an",
        "accelerator, dense directions. All with `zo.scope=all`. A checkpoint of your own is checked again when a",
        "run begins, with its own weights and settings: this page says what to expect, the check decides.",
        "",
        f"Made with transformers {transformers.__version__} on a CPU by `{COMMAND}`; the tests hold every row.",
        "Of " + f"{len(TYPES)} types, exact: " + ", ".join(f"{mode} {count}" for mode, count in counts.items()) + ".",
        "",
        "| type | dense | low rank | 16 bits | passes | remark |",
        "| --- | --- | --- | --- | --- | --- |",
        *("| " + " | ".join(each.cells) + " |" for each in rows),
        "",
        "A name with a space is a variant: a type with settings that change how its blocks compute, checked with dense",
        "directions in fp32.",
        "",
        "Not checked:",
        "",
        *(f"- {name}: {reason}." for name, reason in UNBUILDABLE.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
