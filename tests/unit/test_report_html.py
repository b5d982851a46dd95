"""The page: its figures are the run's, everything is escaped, nothing is fetched."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_run import FLEET, write_fake_run
from tests.support.report_page import ReportPage
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.report import write_report
from zorba_ray.tables.text import text_bytes, text_gap, text_loss, text_percent, text_seconds, text_value


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("report") / "run", name="shown", rounds=40)


@pytest.fixture(scope="module")
def page(run_dir: Path) -> ReportPage:
    out = run_dir.parent / "deep" / "report.html"
    assert write_report([run_dir], out) == out
    assert [item.name for item in out.parent.iterdir()] == ["report.html"]
    return ReportPage(out)


def test_headline_is_the_summary(run_dir: Path, page: ReportPage) -> None:
    s = _json(run_dir / "summary.json")
    vram = s["vram_bytes_per_client"]["clients"]
    assert page.values() == {
        "Validation loss": f"{s['start_loss']:.4f} → {s['final_loss']:.4f}",
        "Test accuracy": f"{100 * s['start_test_accuracy']:.1f} % → {100 * s['test_accuracy']:.1f} %",
        "Sent up per client and round": text_bytes(s["bytes_up_per_client_round"]),
        "Sent down per client and round": text_bytes(s["bytes_down_per_client_round"]),
        "Largest share of a VRAM budget": f"{100 * max(c['bytes'] / c['budget_bytes'] for c in vram):.1f} %",
        "Wall time": text_seconds(s["wall_s"]),
        "SHA-256 of θ at the end": s["weights_sha256"],
    }


def test_clients_are_the_allocation(run_dir: Path, page: ReportPage) -> None:
    rows = page.tables["Clients"][1:]
    for row, client in zip(rows, _json(run_dir / "allocation.json")["clients"], strict=True):
        blocks = client["blocks"]
        assert row == [
            str(client["client"]),
            client["class"],
            f"{client['examples']:,}",
            f"{len(blocks)}: {blocks[0]}–{blocks[-1]}",
            text_bytes(client["bytes"]),
            text_bytes(client["budget_bytes"]),
            f"{100 * client['bytes'] / client['budget_bytes']:.1f} %",
            f"met, {text_bytes(client['budget_bytes'] - client['bytes'])} spare",
        ]


def test_steps_show_bound_and_gap(run_dir: Path, page: ReportPage) -> None:
    allocation = _json(run_dir / "allocation.json")
    rows = page.tables["Allocation"][1:]
    for row, step in zip(rows, allocation["steps"], strict=True):
        unit = text_bytes if step["objective"] == "vram" else text_value
        assert row[3:] == [
            unit(step["value"]),
            unit(step["bound"]),
            text_gap(step["gap"]),
            text_seconds(step["seconds"]),
            step["status"],
        ]
    assert "f1 = 1.3125" in page.text
    assert f"proven gap {text_gap(allocation['gap'])}" in page.text


def test_time_adds_up(run_dir: Path, page: ReportPage) -> None:
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    times = [record["time"] for record in records if record["kind"] == "round"]
    rows = {row[0]: row[1:] for row in page.tables["Time of a round by part"]}
    total = sum(entry["round_s"] for entry in times)
    assert rows["all of the round"] == [text_seconds(total), text_seconds(total / 40), "100.0 %"]
    clients = sum(entry["clients_s"] for entry in times)
    assert rows["clients: forward pairs, transport"][0] == text_seconds(clients)
    assert rows["clients: forward pairs, transport"][2] == text_percent(clients / total)


def test_a_profile_is_shown_where_there_is_one(tmp_path: Path, page: ReportPage) -> None:
    assert "Profile" not in page.tables
    path = write_fake_run(tmp_path / "run", rounds=20)
    part = {"what": "forward passes", "seconds": 6.0, "share": 0.75, "seconds_per_round": 0.3, "cpu_s": 11.0}
    none = {"what": "snapshots", "seconds": 0.0, "share": 0.0, "seconds_per_round": None, "cpu_s": 0.0}
    profile = {
        "rounds": {"first": 1, "last": 20, "count": 20},
        "workers": 2,
        "start_s": 4.0,
        "check_s": 0.5,
        "wall_s": 8.0,
        "cpu_s": 15.0,
        "parts": {"forward": part, "snapshots": none},
    }
    (path / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    shown = ReportPage(write_report([path], tmp_path / "report.html"))
    assert shown.tables["Profile"][1:] == [["forward passes", "6.0 s", "0.3 s", "75.0 %", "11.0 s"]]
    assert (
        "Rounds 1–20 on 2 workers, whose mean is shown: 8.0 s, with evaluation; 4.0 s before them, 0.5 s of"
        in shown.text
    )
    (path / "profile.json").write_text(json.dumps({**profile, "wall_s": "long"}), encoding="utf-8")
    with pytest.raises(RunDirError, match=r"profile\.json: wall_s"):
        write_report([path], tmp_path / "report.html")


def test_rows_that_were_cut_are_said(tmp_path: Path, page: ReportPage) -> None:
    assert "Cut to data.max_length" not in page.text
    path = write_fake_run(tmp_path / "run", rounds=20)
    summary = _json(path / "summary.json")
    cut = {"rows": 3171, "total": 6920, "tokens_before": 287153, "tokens_after": 202822}
    summary["cut_rows"] = {"train": cut, "test": {**cut, "rows": 0, "tokens_before": 0, "tokens_after": 0}}
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    shown = ReportPage(write_report([path], tmp_path / "report.html"))
    assert "Cut to data.max_length=128: 3,171 of 6,920 train rows, 287,153 → 202,822 tokens." in shown.text


def test_settings_provenance_and_command_are_whole(run_dir: Path, page: ReportPage) -> None:
    shown = dict(page.tables["Settings"][1:])
    config = _json(run_dir / "config.resolved.json")
    assert shown["zo.lr"] == "0.002"
    assert json.loads(shown["federation.fleet"]) == config["federation"]["fleet"]
    assert {key.split(".")[0] for key in shown} == set(config)
    provenance = dict(page.tables["Provenance"][1:])
    assert provenance["git.commit"] == "bb14dbc2d5d95bf87334c989328704549367c17b"
    assert provenance["versions.wandb"] == "none"
    assert "zorba-ray run sst2.yaml name=shown 'data.prompt={sentence} It was'" in page.text
    assert f"zorba-ray run {run_dir}/config.resolved.json --run-dir {run_dir}-again" in page.text


def test_faults_are_listed(page: ReportPage) -> None:
    assert page.tables["Faults"][1:] == [["37", "–", "0 failed, 1 late"], ["40", "3", "refused: not finite"]]


def test_memory_is_labelled_wherever_it_stands(page: ReportPage) -> None:
    label = "modelled, simulated accelerator"
    assert f"6 GiB – {label}" in page.text  # headline
    assert f"VRAM figures are {label}." in page.text  # clients
    assert f"over the fleet, fullest client 73.7 % of its budget; VRAM figures are {label}" in page.text  # allocation
    assert f"Figures are {label}." in page.text  # figure
    assert "accelerator: simulated" in page.text  # what was run
    assert "memory of a process (measured, host)" in page.text


def test_figures_are_svg_with_alternative_texts(run_dir: Path, page: ReportPage) -> None:
    plots = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(plots) == 6
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 40 for plot in plots)
    for text in re.findall(r"<svg .*?</svg>", page.source, re.DOTALL):
        ET.fromstring(text)
    loss = _json(run_dir / "summary.json")
    first = plots[0]["aria-label"] or ""
    assert f"validation: {loss['start_loss']:.4g} at 0 to {loss['final_loss']:.4g} at 40" in first
    # 40 rounds of 8 clients, 46 bytes up each; one report was late in round 37
    assert f"up {text_bytes(46 * (40 * 8 - 1))}" in (plots[-1]["aria-label"] or "")


def test_ids_are_unique(page: ReportPage) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    used = set(re.findall(r"(?:url\(|href=\")#([\w-]+)", page.source))
    assert used == set(ids)


def test_nothing_is_fetched_or_run(page: ReportPage) -> None:
    links = [value or "" for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not any(tag in ("script", "iframe", "object", "embed", "base", "form") for tag, _ in page.tags)
    assert not re.search(r"url\((?!#)|@import|https?://", page.source)
    assert "default-src 'none'" in page.source
    assert "script-src" not in page.source
    assert len(page.source.encode()) < 300_000


def test_figures_follow_the_colour_scheme(page: ReportPage) -> None:
    plots = "".join(re.findall(r"<svg .*?</svg>", page.source, re.DOTALL))
    assert not re.search(r"#[0-9a-fA-F]{6}\b(?!-)", re.sub(r"#f[0-9a-f]{8}-\w+", "", plots))
    used = set(re.findall(r"var\(--(\w+)\)", plots))
    for scheme in re.findall(r":root \{(.*?)\}", page.source, re.DOTALL)[:2]:  # light, dark
        assert used <= set(re.findall(r"--([\w-]+):", scheme))


def test_who_met_which_budget(tmp_path: Path) -> None:
    run_dir = write_fake_run(tmp_path / "run", rounds=12, client_loss=True)
    allocation = _json(run_dir / "allocation.json")
    first, second = allocation["clients"][:2]
    first["budget_bytes"] = first["bytes"] - 2**28
    second["budget_bytes"] = None
    (run_dir / "allocation.json").write_text(json.dumps(allocation), encoding="utf-8")
    page = ReportPage(write_report([run_dir], tmp_path / "r.html"))
    rows = page.tables["Clients"]
    assert rows[0][7:] == ["Met", "Training loss"]
    spare = allocation["clients"][2]["budget_bytes"] - allocation["clients"][2]["bytes"]
    assert [row[7] for row in rows[1:4]] == ["over by 256 MiB", "no budget", f"met, {text_bytes(spare)} spare"]
    assert "6 of 7 budgets met" in page.text
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [record["client_loss"]["5"] for record in records if record["kind"] == "round"][-10:]
    assert rows[6][8] == text_loss(sum(last) / 10)


def test_the_page_is_the_same_twice(run_dir: Path, page: ReportPage, tmp_path: Path) -> None:
    assert write_report([run_dir], tmp_path / "again.html").read_text(encoding="utf-8") == page.source


def test_tables_can_be_reached_by_keyboard(page: ReportPage) -> None:
    regions = [attributes for _, attributes in page.tags if attributes.get("class") == "scroll"]
    assert len(regions) == len(page.tables)
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)


HOSTILE = "<script>alert('$1^')</script>&\"中"


def test_text_of_a_run_is_escaped(tmp_path: Path) -> None:
    run_dir = write_fake_run(tmp_path / "<img src=x>", rounds=2, fleet=[(HOSTILE, 2, 6 * 2**30, 4)], done=1)
    summary = _json(run_dir / "summary.json")
    summary |= {"status": "diverged", "error": "<b>bold</b>", "rounds_done": 1}
    (run_dir / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    page = ReportPage(write_report([run_dir], tmp_path / "r.html"))
    assert not any(tag in ("script", "b") or attributes.get("src") == "x" for tag, attributes in page.tags)
    assert page.tables["Clients"][1][1] == HOSTILE
    assert "<b>bold</b>" in page.text
    assert "&lt;script&gt;" in page.source


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    page = ReportPage(
        write_report([write_fake_run(tmp_path / "run", rounds=40, done=13, summary=False)], tmp_path / "r.html")
    )
    assert "This run is unfinished: 13 of 40 rounds are on record, no summary yet." in page.text
    assert page.values()["Wall time"] == "–"
    assert page.values()["Test accuracy"].endswith("→ –")
    assert "SHA-256 of θ at the end" not in page.values()
    assert "Costs" not in page.tables


def test_a_run_before_its_first_round(tmp_path: Path) -> None:
    page = ReportPage(write_report([write_fake_run(tmp_path / "run", done=0, summary=False)], tmp_path / "r.html"))
    assert "0 of 120 rounds" in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) == 4  # no training loss, no traffic yet


def test_a_language_model_run_without_budgets(tmp_path: Path) -> None:
    run_dir = write_fake_run(tmp_path / "run", rounds=20, lm=True, fleet=[("unlimited", 3, None, 24)])
    page = ReportPage(write_report([run_dir], tmp_path / "r.html"))
    assert "Test accuracy" not in page.values()
    assert "→" in page.values()["Test loss"]
    assert page.values()["Largest share of a VRAM budget"] == "no budgets"
    assert [row[5:] for row in page.tables["Clients"][1:]] == [["none", "–", "no budget"]] * 3
    assert sum(tag == "svg" for tag, _ in page.tags) == 5


def test_an_early_end_is_told_with_its_error(tmp_path: Path) -> None:
    run_dir = write_fake_run(tmp_path / "run", rounds=20, done=9, status="lost_clients")
    page = ReportPage(write_report([run_dir], tmp_path / "r.html"))
    assert "ended early: lost clients, after 9 of 20 rounds (LostClients: 2 of 8 reports, quorum 4)." in page.text


def test_a_hundred_clients_stay_small(tmp_path: Path) -> None:
    fleet = [(kind, 13 * count, budget, active) for kind, count, budget, active in FLEET]
    out = write_report([write_fake_run(tmp_path / "run", rounds=200, fleet=fleet)], tmp_path / "r.html")
    assert len(ReportPage(out).tables["Clients"]) == 105
    assert out.stat().st_size < 1_000_000


def test_several_runs_side_by_side(tmp_path: Path) -> None:
    dirs = [
        write_fake_run(tmp_path / "a", name="base", rounds=20),
        write_fake_run(tmp_path / "b", name="halved", rounds=20, lr=1e-3, seed=3),
        write_fake_run(tmp_path / "c", name="running", rounds=20, done=11, seed=4, summary=False),
    ]
    page = ReportPage(write_report(dirs, tmp_path / "r.html"))
    rows = page.tables["Runs"]
    assert [row[:3] for row in rows[1:]] == [
        ["base", "finished", "20 / 20"],
        ["halved", "finished", "20 / 20"],
        ["running", "unfinished", "11 / 20"],
    ]
    for row, path in zip(rows[1:], dirs, strict=True):
        losses = Run(path).split("validation")
        assert row[3] == f"{losses[0].loss:.4f} → {losses[-1].loss:.4f}"
    assert page.tables["Settings that differ"] == [
        ["Setting", "base", "halved", "running"],
        ["seed", "0", "3", "4"],
        ["zo.lr", "0.002", "0.001", "0.002"],
    ]
    assert sum(tag == "details" for tag, _ in page.tags) == 3
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert "VRAM figures are modelled, simulated accelerator." in page.text


def test_sources_that_differ_stand_beside_the_figure(tmp_path: Path) -> None:
    dirs = [write_fake_run(tmp_path / name, name=name, rounds=2) for name in ("a", "b")]
    allocation = _json(dirs[1] / "allocation.json") | {"bytes_source": "measured", "accelerator": "cuda: H200"}
    (dirs[1] / "allocation.json").write_text(json.dumps(allocation), encoding="utf-8")
    page = ReportPage(write_report(dirs, tmp_path / "r.html"))
    assert [row[8].partition(" (")[2] for row in page.tables["Runs"][1:]] == [
        "modelled, simulated accelerator)",
        "measured, cuda: H200)",
    ]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="at least one run directory"):
        write_report([], tmp_path / "r.html")
    run_dir = write_fake_run(tmp_path / "run", rounds=2)
    with pytest.raises(RunDirError, match="is a directory: name a file"):
        write_report([run_dir], tmp_path)
