"""Golden values of whole runs: what the demo's first rounds and a comparison's first cells gave, and where.

`python -m tools.golden` (or `make golden`) runs both anew and rewrites `tests/golden/runs.json` and
`tests/golden/demo/`. Do so only where numbers were meant to change, and say in docs/log why they did.
"""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
REPLAYED = ("config.resolved.json", "ledger.zl")
"""Files of a run directory from which its θ can be rebuilt."""
_LITTLE = ("rounds=3", "data.train_rows=96", "data.batch_size=8", "eval.every=3", "eval.rows=24")
_RESIDENT = ("memory={frozen: device}",)
COMMANDS: dict[str, tuple[str, ...]] = {
    "demo": ("run", "demo", "rounds=6", "eval.every=3", "federation.backend=sequential", "--run-dir"),
    "examples": (
        "run", "demo", *_LITTLE, *_RESIDENT, "federation.fleet=null", "federation.backend=sequential", "zo.lr=0.001",
        "zo.scope=all", "zo.directions=2", "zo.directions_per=example", "--run-dir",
    ),
    "comparison": (
        "compare", "demo", *_LITTLE, *_RESIDENT, "federation.fleet=null", "federation.backend=sequential",
        "--methods", "zorba,decomfl,fedkseed,mezo", "--seeds", "1",
        "--rates", "zorba=0.001", "--rates", "decomfl=0.002", "--rates", "fedkseed=0.0001", "--rates", "mezo=0.001",
        "--dir",
    ),
}  # fmt: skip
"""Name -> arguments of `zorba-ray`; the folder to write is added at the end."""


def origin() -> dict[str, str]:
    """What the last bits of a loss depend on: two runs with the same origin give the same bits."""
    return {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }


def values(folder: Path) -> dict[str, dict[str, Any]]:
    """Run directory inside `folder` -> its losses by round, the last chain of its ledger, and SHA-256 of θ."""
    return {str(path.parent.relative_to(folder)): _values(path.parent) for path in sorted(folder.rglob("ledger.zl"))}


def _values(run: Path) -> dict[str, Any]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return {
        "training_loss": [record["loss"] for record in records if record["kind"] == "round"],
        "validation_loss": [r["loss"] for r in records if r["kind"] == "eval" and r["split"] == "validation"],
        "chain": (run / "ledger.zl").read_bytes()[-32:].hex(),
        "weights_sha256": json.loads((run / "summary.json").read_text("utf-8"))["weights_sha256"],
    }


def main() -> None:
    """Rewrites the golden files."""
    golden: dict[str, Any] = {"origin": origin()}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in COMMANDS.items():
            path = Path(folder) / name
            subprocess.run([sys.executable, "-m", "zorba_ray", *arguments, str(path)], check=True)
            golden[name] = values(path)
        (GOLDEN / "demo").mkdir(exist_ok=True)
        for name in REPLAYED:
            shutil.copyfile(Path(folder) / "demo" / name, GOLDEN / "demo" / name)
    (GOLDEN / "runs.json").write_text(json.dumps(golden, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
