"""The page of one run and of several: its figures are the run's, everything is escaped, nothing is fetched."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_family import edit, write_member
from tests.support.fake_run import BASE, EACH, FLEET, write_fake_run
from tests.support.report_page import ReportPage
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.report import write_report
from zorba_ray.report.run_tables import assignments_table, blocks_table
from zorba_ray.tables import wilson
from zorba_ray.tables.text import text_bytes, text_gap, text_percent, text_seconds, text_value


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _page(*run_dirs: Path) -> ReportPage:
    return ReportPage(write_report(run_dirs, run_dirs[0].parent / "page.html"))


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
    s, run = _json(run_dir / "summary.json"), Run(run_dir)
    validation, test = run.split("validation"), run.split("test")
    vram = _json(run_dir / "allocation.json")["clients"]
    held, whole = sum(c["bytes"] for c in vram), len(vram) * (BASE + 24 * EACH)
    assert page.values() == {
        "Active blocks of a client": "4–24 of 24",
        "Test accuracy": " → ".join(text_percent(record.accuracy) for record in test),
        "Bytes of a client per round": f"{text_bytes(s['bytes_up_per_client_round'])} up, "
        f"{text_bytes(s['bytes_down_per_client_round'])} down",
        "Memory (VRAM) saved": text_percent(1 - held / whole),
    }
    assert f"{text_bytes(held)} for all clients; with all blocks active {text_bytes(whole)}" in page.text
    low, high = wilson(test[-1].accuracy or 0.0, 1000)
    assert f"95 % interval {100 * low:.1f}–{100 * high:.1f} % over 1,000 rows; chance 50.0 %" in page.text
    summary = {row[0]: row[1] for row in page.tables["Summary"][1:]}
    assert summary == {
        "Validation loss": f"{validation[0].loss:.4f} → {validation[-1].loss:.4f}",
        "Validation accuracy": f"{text_percent(validation[0].accuracy)} → {text_percent(validation[-1].accuracy)}",
        "Test loss": f"{test[0].loss:.4f} → {test[-1].loss:.4f}",
        "Largest share of a budget": f"{100 * max(c['bytes'] / c['budget_bytes'] for c in vram):.1f} %",
        "Wall time": text_seconds(s["wall_s"]),
    }
    assert f"SHA-256 of θ at the end: {s['weights_sha256']}" in page.text


def test_settings_are_folded(page: ReportPage) -> None:
    folded = [attributes for tag, attributes in page.tags if tag == "details"]
    assert folded
    assert not any("open" in attributes for attributes in folded)


def test_the_first_figure_is_bytes_against_budgets(tmp_path: Path, page: ReportPage) -> None:
    """Sorted from the largest budget; 11.3 GiB with all blocks active is more than a phone's 6, less than 12."""
    title, first = next(iter(page.plots().items()))
    assert title == "Memory (VRAM) of a client, in GiB, against its budget"
    names = [text for text in first.itertext() if text.strip().endswith(("phone", "laptop", "server"))]
    assert names == [
        "6  server",
        "7  server",
        "3  laptop",
        "4  laptop",
        "5  laptop",
        "0  phone",
        "1  phone",
        "2  phone",
    ]
    assert {"4 of 24 blocks", "24 of 24 blocks", "held", "all blocks active", "budget"} <= {*first.itertext()}
    assert "Then only 5 of 8 clients would fit. Bytes are modelled" in page.text
    # Where the cost of a block is not on record, the figure has no such bars.
    path = write_fake_run(tmp_path / "old", rounds=2)
    edit(path / "allocation.json", lambda tree: tree.pop("placements"))
    old = _page(path)
    assert "all blocks active" not in {*next(iter(old.plots().values())).itertext()}
    assert old.values()["Memory (VRAM) saved"] == "–"


def test_accuracies_have_chance_and_zero_shot_lines(run_dir: Path, page: ReportPage) -> None:
    label = page.plots()["Accuracy"].get("aria-label") or ""
    start = Run(run_dir).split("validation")[0].accuracy or 0.0
    assert f"chance 50.0 %: 0.5 at 0 to 0.5 at 1; zero-shot {100 * start:.1f} %: {start:.4g} at 0" in label
    assert "400 validation rows and 1,000 test rows (Wilson)" in label


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
        ]


def test_steps_show_bound_and_gap(run_dir: Path, page: ReportPage) -> None:
    allocation = _json(run_dir / "allocation.json")
    for row, step in zip(page.tables["Allocation"][1:], allocation["steps"], strict=True):
        unit = text_bytes if step["objective"] == "vram" else text_value
        figures = [unit(step["value"]), unit(step["bound"]), text_gap(step["gap"]), text_seconds(step["seconds"])]
        assert row[3:] == [*figures, step["status"]]
    assert "f1 = 1.3125" in page.text
    assert f"proven gap {text_gap(allocation['gap'])}" in page.text


def test_a_profile_is_shown_where_there_is_one(tmp_path: Path, page: ReportPage) -> None:
    assert "Profile" not in page.tables
    path = write_fake_run(tmp_path / "run", rounds=20)
    profile = {
        "rounds": {"first": 1, "last": 20, "count": 20}, "workers": 2, "start_s": 4.0, "check_s": 0.5, "wall_s": 8.0,
        "cpu_s": 15.0, "parts": {
            "forward": {"what": "forward passes", "seconds": 6.0, "share": 0.75, "seconds_per_round": 0.3, "cpu_s": 11},
            "snapshots": {"what": "snapshots", "seconds": 0.0, "seconds_per_round": None, "cpu_s": 0.0},
        },
    }  # fmt: skip
    (path / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    shown = _page(path)
    assert shown.tables["Profile"][1:] == [["forward passes", "6.0 s", "0.3 s", "75.0 %", "11.0 s"]]
    for part in ("Rounds 1–20", "2 workers", "8.0 s", "4.0 s", "0.5 s", "15.0 s"):
        assert part in shown.text
    edit(path / "profile.json", lambda tree: tree.update(wall_s="long"))
    with pytest.raises(RunDirError, match=r"profile\.json: wall_s"):
        _page(path)


def test_rows_that_were_cut_are_said(tmp_path: Path, page: ReportPage) -> None:
    assert "data.max_length=" not in page.text
    path = write_fake_run(tmp_path / "run", rounds=20)
    cut = {"rows": 3171, "total": 6920, "tokens_before": 287153, "tokens_after": 202822}
    none = {**cut, "rows": 0, "tokens_before": 0, "tokens_after": 0}
    edit(path / "summary.json", lambda tree: tree.update(cut_rows={"train": cut, "test": none}))
    text = _page(path).text
    assert "data.max_length=128: 3,171 of 6,920 train rows, 287,153 → 202,822 tokens" in text
    assert "6,920 test rows" not in text


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


def test_memory_carries_its_source_wherever_it_stands(page: ReportPage) -> None:
    """Headline, clients, allocation."""
    assert page.source.count("modelled, simulated accelerator") >= 3
    assert "fullest client 73.7 % of its budget" in page.text


def test_figures_are_svg_with_alternative_texts(run_dir: Path, page: ReportPage) -> None:
    plots = page.plots()  # well-formed
    assert list(plots)[1:] == [
        "Accuracy", "Loss", "Confusion matrix", "F1 by label", "Training loss and scalars", "Active blocks by client"
    ]  # fmt: skip
    labels = [plot.get("aria-label") or "" for plot in plots.values()]
    assert all(plot.get("role") == "img" for plot in plots.values())
    assert min(map(len, labels)) > 40
    losses = Run(run_dir).split("validation")
    assert f"validation: {losses[0].loss:.4g} at 0 to {losses[-1].loss:.4g} at 40" in labels[2]


def test_ids_are_unique(page: ReportPage) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r"(?:url\(|href=\")#([\w-]+)", page.source)) == set(ids)


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
    run_dir = write_fake_run(tmp_path / "run", rounds=2)
    clients = _json(run_dir / "allocation.json")["clients"]
    clients[0]["budget_bytes"], clients[1]["budget_bytes"] = clients[0]["bytes"] // 2, None
    edit(run_dir / "allocation.json", lambda tree: tree.update(clients=clients))
    page = _page(run_dir)
    assert [row[6] for row in page.tables["Clients"][1:3]] == ["200.0 %", "–"]
    assert "6 of 7 budgets met" in page.text


def test_the_page_is_the_same_twice(run_dir: Path, page: ReportPage, tmp_path: Path) -> None:
    assert write_report([run_dir], tmp_path / "again.html").read_text(encoding="utf-8") == page.source


def test_tables_can_be_reached_by_keyboard(page: ReportPage) -> None:
    regions = [attributes for _, attributes in page.tags if attributes.get("class") == "scroll"]
    assert len(regions) == len(page.tables)
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)


HOSTILE = "<script>alert('$1^')</script>&\"中"


def test_text_of_a_run_is_escaped(tmp_path: Path) -> None:
    run_dir = write_fake_run(tmp_path / "<img src=x>", rounds=2, fleet=[(HOSTILE, 2, 6 * 2**30, 4)], done=1)
    edit(run_dir / "summary.json", lambda tree: tree.update(status="diverged", error="<b>bold</b>", rounds_done=1))
    page = _page(run_dir)
    assert not any(tag in ("script", "b") or attributes.get("src") == "x" for tag, attributes in page.tags)
    assert page.tables["Clients"][1][1] == HOSTILE
    assert "<b>bold</b>" in page.text
    assert "&lt;script&gt;" in page.source


def test_runs_that_did_not_end_say_so(tmp_path: Path) -> None:
    page = _page(write_fake_run(tmp_path / "a", rounds=40, done=13, summary=False))
    assert "not finished: 13 of 40 rounds" in page.text
    assert "Wall time" not in {row[0] for row in page.tables["Summary"]}
    assert page.values()["Test accuracy"].endswith("→ –")
    assert "SHA-256" not in page.text
    page = _page(write_fake_run(tmp_path / "b", done=0, summary=False))
    assert "0 of 120 rounds" in page.text
    assert len(page.plots()) == 6  # no training loss yet
    page = _page(write_fake_run(tmp_path / "c", rounds=20, done=9, status="lost_clients"))
    assert "lost clients, after 9 of 20 rounds (LostClients: 2 of 8 reports, quorum 4)" in page.text


def test_a_language_model_run_without_budgets(tmp_path: Path) -> None:
    page = _page(write_fake_run(tmp_path / "run", rounds=20, lm=True, fleet=[("unlimited", 3, None, 24)]))
    assert "Test accuracy" not in page.values()
    assert "→" in page.values()["Test loss"]
    loss = Run(tmp_path / "run").split("test")[-1].loss
    assert f"95 % interval {loss - 0.02:.4f}–{loss + 0.03:.4f} over 1,000 rows" in page.text
    assert "no budgets" in page.text
    assert "Largest share of a budget" not in page.text
    assert page.values()["Memory (VRAM) saved"] == "0.0 %"
    assert [row[5:] for row in page.tables["Clients"][1:]] == [["–", "–"]] * 3
    assert len(page.plots()) == 4


def test_a_hundred_clients_stay_small(tmp_path: Path) -> None:
    """All in the table, classes of them in the figures."""
    fleet = [(kind, 13 * count, budget, active) for kind, count, budget, active in FLEET]
    page = _page(write_fake_run(tmp_path / "run", rounds=200, fleet=fleet))
    assert len(page.tables["Clients"]) == 105
    assert "Clients: 104 rows" in page.text, "a long table is folded"
    assert "clients, from the largest budget to the smallest" in page.texts
    assert {f"{kind} × {count}" for kind, count, *_ in fleet} <= set(page.texts)
    assert len(page.source.encode()) < 1_000_000


def test_several_runs_side_by_side(tmp_path: Path) -> None:
    dirs = [
        write_fake_run(tmp_path / "a", name="base", rounds=20),
        write_fake_run(tmp_path / "b", name="halved", rounds=20, lr=1e-3, seed=3),
        write_fake_run(tmp_path / "c", name="running", rounds=20, done=11, seed=4, summary=False),
    ]
    page = _page(*dirs)
    rows = page.tables["Runs"][1:]
    states = [["base", "finished", "20 / 20"], ["halved", "finished", "20 / 20"], ["running", "unfinished", "11 / 20"]]
    assert [row[:3] for row in rows] == states
    for row, path in zip(rows, dirs, strict=True):
        losses = Run(path).split("validation")
        assert row[3] == f"{losses[0].loss:.4f} → {losses[-1].loss:.4f}"
    assert page.tables["Settings that differ"] == [
        ["Setting", "base", "halved", "running"],
        ["seed", "0", "3", "4"],
        ["zo.lr", "0.002", "0.001", "0.002"],
    ]
    assert sum(tag == "details" for tag, _ in page.tags) == 3
    assert len(page.plots()) == 2
    assert "VRAM figures are modelled, simulated accelerator." in page.text
    # Sources that differ stand beside their figures.
    edit(dirs[1] / "allocation.json", lambda tree: tree.update(bytes_source="measured", accelerator="cuda: H200"))
    sources = [row[9].partition(" (")[2] for row in _page(*dirs).tables["Runs"][1:3]]
    assert sources == ["modelled, simulated accelerator)", "measured, cuda: H200)"]


def test_runs_on_other_data_or_models_never_share_an_axis(tmp_path: Path) -> None:
    dirs = [write_fake_run(tmp_path / name, name=name, rounds=20) for name in ("a", "b", "c")]
    edit(dirs[2] / "config.resolved.json", lambda tree: tree["data"].update(path="data/trec"))
    page = _page(*dirs)
    assert "cannot be compared" in page.text
    assert "facebook/opt-350m on data/sst2; facebook/opt-350m on data/trec." in page.text
    figures = re.findall(r"<svg .*?</svg>", page.source, re.DOTALL)
    drawn = [{*ET.fromstring(figure).itertext()} & {"a", "b", "c"} for figure in figures]
    assert drawn == [{"a", "b"}, {"a", "b"}, set(), {"c"}]
    assert "cannot be compared" not in _page(*dirs[:2]).text


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="at least one run directory"):
        write_report([], tmp_path / "r.html")
    with pytest.raises(RunDirError, match="is a directory: name a file"):
        write_report([write_fake_run(tmp_path / "run", rounds=2)], tmp_path)


PROBE = {
    "round": 1, "energy": [1.0, 0.5, 0.25, 0.0], "dissimilarity": [0.5, 0.25, 0.125, 0.0],
    "dissimilarity_error": [0.1, 0.05, 0.02, 0.01], "noise": [2.0, 1.0, 1.0, 1.0], "weights": [2.2, 1.1, 0.6, 0.1],
    "pairs": 8, "forward_pairs": 128, "bytes_up": 600, "bytes_down": 80, "clients": 2,
}  # fmt: skip


def test_assignments_and_probes_have_their_tables(tmp_path: Path) -> None:
    """Block 1: client 1 first, then client 0; block 3: client 0 twice; block 0: nobody."""
    path = write_member(tmp_path / "run")
    assert not assignments_table(Run(path)).items
    assert not blocks_table(Run(path)).items
    same = {"f2_bytes": 2300, "gap": 0.0, "solver": "x", "clients_changed": 2}
    first = {"round": 1, "reason": "start", "f1": None, "active": ["0011", "0100"], **same}
    second = {"round": 2, "reason": "rotation", "f1": 1.5, "active": ["0101", "0010"], **same}
    edit(path / "allocation.json", lambda tree: tree.update(assignments=[first, second]))
    rows = assignments_table(Run(path)).texts()
    assert [row[:4] for row in rows] == [["1", "start", "2", "∞"], ["2", "rotation", "2", "1.5"]]
    held = [["0", "0", "0"], ["1", "1", "2"], ["2", "1", "2"], ["3", "1", "1"]]
    assert [row[:3] for row in blocks_table(Run(path)).texts()] == held
    edit(path / "allocation.json", lambda tree: tree.update(probe=PROBE))
    table = blocks_table(Run(path))
    assert table.texts()[0][3:] == ["1", "0.5 ± 0.1", "2", "2.2"]
    assert "128 in all" in table.note
    assert {"Assignments of the blocks", "Blocks"} <= _page(path).tables.keys()
