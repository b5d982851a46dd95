"""The metrics port of a real head, scraped while a job runs."""

import json
import re
import time
import urllib.request
from pathlib import Path

from benchmarks.chaos.token_head import TokenHead
from tests.support.tiny_run import TINY
from zorba_ray.experiment.tracking.ray_metrics import SERIES, exported_name

_LINE = re.compile(r"^(ray_zorba_\w+)\{(.*)\} (\S+)$")
_TAG = re.compile(r'(\w+)="([^"]*)"')

Sample = tuple[str, dict[str, str], float]


def scrape(url: str) -> list[Sample]:
    """(name, tags, value) of every series of ours."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found = [_LINE.match(line) for line in text.splitlines()]
    return [(m[1], dict(_TAG.findall(m[2])), float(m[3])) for m in found if m]


def test_a_run_is_seen_on_the_metrics_port(head: TokenHead, tmp_path: Path):
    """Every metric with its run tag, clients one by one, and values that stand in the run directory."""
    fleet = "federation.fleet=[{name: a, count: 4, vram: 6200000}]"
    settings = [*TINY, fleet, "federation.backend=ray", "memory.frozen=host", "rounds=4000", "eval.every=4000"]
    command = ["zorba-ray", "run", "demo", *settings, "--run-dir", "runs/scraped"]
    submitted = head.ray(
        "job", "submit", "--no-wait", "--submission-id", "scraped", "--working-dir", ".", "--", *command, cwd=tmp_path
    )
    assert submitted.returncode == 0, submitted.stdout
    run = head.home / "runs" / "scraped"
    try:
        wanted = {exported_name(name) for name in SERIES}
        samples: list[Sample] = []
        end = time.monotonic() + 120
        while {name for name, _, _ in samples} < wanted and time.monotonic() < end:
            time.sleep(0.3)
            samples = [sample for sample in scrape(head.metrics_url) if sample[1].get("run", "").startswith("tiny-")]
            assert head.job("scraped")["status"] in ("PENDING", "RUNNING"), head.logs("scraped")
    finally:
        head.ray("job", "stop", "scraped")
    missing = wanted - {name for name, _, _ in samples}
    assert not missing
    info = json.loads((run / "provenance.json").read_text())
    mine = f"tiny-{info['run_id'][:8]}"
    samples = [sample for sample in samples if sample[1]["run"] == mine]  # other jobs of this head export, too
    assert not wanted - {name for name, _, _ in samples}
    values = {
        name: value for name, tags, value in samples if set(tags) & {"client", "split", "part", "outcome"} == set()
    }
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rounds = [record for record in records if record["kind"] == "round"]
    assert values["ray_zorba_rounds"] == 4000
    assert 1 <= values["ray_zorba_round"] <= len(rounds)
    assert any(abs(values["ray_zorba_loss"] - record["loss"]) < 1e-6 for record in rounds)
    uploaded = [sum(record["bytes_up"] for record in rounds[:done]) for done in range(1, len(rounds) + 1)]
    assert values["ray_zorba_bytes_up_total"] in uploaded
    allocation = json.loads((run / "allocation.json").read_text())
    held = {tags["client"]: value for name, tags, value in samples if name == "ray_zorba_client_bytes"}
    assert held == {str(client["client"]): client["bytes"] for client in allocation["clients"]}
    answered = {tags["outcome"]: value for name, tags, value in samples if name == "ray_zorba_clients_total"}
    assert set(answered) == {"ok"}
    assert answered["ok"] % 4 == 0
