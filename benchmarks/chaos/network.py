"""Three Ray nodes with a network of their own: one is cut off and healed, and the head is killed and started again."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.chaos.namespaces import Node, environment, inside, three_nodes
from benchmarks.chaos.program import (
    Ended,
    after_round,
    call,
    command,
    digest_in,
    ended,
    faults_row,
    run_arguments,
    start,
)
from benchmarks.rows import Row, not_run

DEVICE = "cpu, 3 Ray nodes in network namespaces of this machine"
CUT_AT = 4
"""Round after which the network or the head fails."""
ON_RAY = ("federation.backend=ray", "federation.workers=2", "federation.deadline_s=300")
LIMIT_S = 900.0


def rows(quick: bool) -> list[Row]:
    """All rows of this file; quick: one node is cut off for five seconds."""
    with tempfile.TemporaryDirectory(prefix="zc-") as name:
        out = Path(name) / "rows.json"
        words = [sys.executable, "-m", "benchmarks.chaos.network", str(out), *(["--quick"] if quick else [])]
        started = inside(words)
        if started is None:
            return [not_run("three nodes, one cut off", "wrong", "0", "no network namespaces here")]
        done = subprocess.run(started, capture_output=True, text=True, timeout=4 * LIMIT_S, check=False)
        assert out.exists(), done.stderr[-3000:]
        return [Row(**row) for row in json.loads(out.read_text(encoding="utf-8"))]


def main() -> None:
    """Inside the namespaces: FILE [--quick]; writes the rows to FILE."""
    out, quick = Path(sys.argv[1]), "--quick" in sys.argv
    folder, settings = out.parent, [f"rounds={30 if quick else 120}", "eval.every=30"]
    calm = call(*run_arguments(folder / "calm", *settings))
    digest = digest_in(folder / "calm")
    assert digest is not None, calm.text
    drill = Drill(three_nodes(folder), settings, digest)
    for node in drill.nodes:
        node.start()
    found = [drill.cut_off(folder / "short", 5.0)]
    if not quick:
        found += [drill.cut_off(folder / "long", 60.0), drill.head_killed(folder / "head")]
    for node in drill.nodes:
        node.kill()
    out.write_text(json.dumps([asdict(row) for row in found]), encoding="utf-8")


@dataclass(frozen=True)
class Drill:
    """The cluster, and the run on it."""

    nodes: list[Node]
    settings: list[str]
    digest: str
    """Of the undisturbed run."""

    def start(self, path: Path) -> subprocess.Popen[str]:
        """The program on the head's node."""
        head = self.nodes[0]
        words = head.words(*command(*run_arguments(path, *self.settings, *ON_RAY)))
        return start(words, environment() | {"RAY_ADDRESS": f"{head.address}:6379"})

    def cut_off(self, path: Path, seconds: float) -> Row:
        """The third node's cable is out for some seconds. If Ray has given the node up by then, it is started again."""
        process, third = self.start(path), self.nodes[2]
        after_round(process, path, CUT_AT)
        third.cut()
        time.sleep(seconds)
        third.heal()
        end_s, again = time.monotonic() + LIMIT_S, 0
        while process.poll() is None and time.monotonic() < end_s:
            if not third.running():
                again += 1
                third.start()
            time.sleep(0.5)
        faults = self.faults(ended(process, 60), path)
        details = {"node started again": f"{again} times", "longest round": f"{_longest(path):.1f} s"}
        return _judged(f"1 of 3 nodes cut off for {seconds:g} s and healed", faults, details)

    def head_killed(self, path: Path) -> Row:
        """kill -9 of all Ray processes of the head; all nodes are started again, and the run is resumed."""
        process = self.start(path)
        after_round(process, path, CUT_AT)
        self.nodes[0].kill()
        began = time.monotonic()
        end = ended(process, LIMIT_S)
        seconds = time.monotonic() - began
        faults = [] if end.said else [f"exit code {end.code}: {end.text[-500:]}"]
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.start()
        faults += self.faults(ended(self.start(path), LIMIT_S), path)
        sentence = next((line for line in end.text.splitlines() if line.startswith("error")), "")
        details = {"the program ended": f"with exit code {end.code} after {seconds:.0f} s", "it said": sentence}
        return _judged("head of 3 nodes killed (kill -9) and started again, then --resume", faults, details)

    def faults(self, end: Ended, path: Path) -> list[str]:
        """What is wrong at the end."""
        found = digest_in(path)
        return [] if end.code == 0 and found == self.digest else [f"exit code {end.code}, {found}: {end.text[-500:]}"]


def _longest(path: Path) -> float:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return max(line["time"]["round_s"] for line in lines if line["kind"] == "round")


def _judged(name: str, faults: list[str], details: dict[str, str]) -> Row:
    return faults_row(name, faults, "0: the same SHA-256", details, DEVICE)


if __name__ == "__main__":
    main()
