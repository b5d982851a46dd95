"""Reading sweep directories, and their page: its figures are the sweep's, everything is escaped."""

import json
import math
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_run import write_fake_run
from tests.support.fake_sweep import write_fake_sweep
from tests.support.report_page import ReportPage
from zorba_ray.artifacts.sweep import is_sweep, read_sweep
from zorba_ray.errors import RunDirError
from zorba_ray.report import write_report
from zorba_ray.report.sweep_figures import distinct_values, is_log
from zorba_ray.report.trials import best_trial, best_trials, group_trials, swept_keys
from zorba_ray.tables.text import text_bytes, text_loss, text_percent

Endings = dict[int, Any]
MIXED: Endings = {3: "failed", 4: "failed", 7: "stopped", 8: "stopped", 15: "running", 16: "running", 23: "pending"}


def _state(path: Path) -> dict[str, Any]:
    return json.loads((path / "sweep.json").read_text(encoding="utf-8"))


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    state = _state(path)
    change(state)
    (path / "sweep.json").write_text(json.dumps(state), encoding="utf-8")
    return path


def _page(path: Path, out: Path | None = None) -> ReportPage:
    return ReportPage(write_report([path], out or path / "report.html"))


@pytest.fixture(scope="module")
def sweep_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_sweep(tmp_path_factory.mktemp("sweep") / "epsilon", rounds=20)


@pytest.fixture(scope="module")
def page(sweep_dir: Path) -> ReportPage:
    return _page(sweep_dir)


@pytest.fixture(scope="module")
def mixed_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_sweep(
        tmp_path_factory.mktemp("sweep") / "mixed", rounds=20, endings=MIXED, status="running", name="mixed"
    )


@pytest.fixture(scope="module")
def mixed_page(mixed_dir: Path) -> ReportPage:
    return _page(mixed_dir)


def test_a_finished_sweep_is_read_whole(sweep_dir: Path) -> None:
    sweep, state = read_sweep(sweep_dir), _state(sweep_dir)
    assert is_sweep(sweep_dir)
    assert not is_sweep(sweep_dir / "trials")
    assert (sweep.name, sweep.status, len(sweep.trials)) == ("epsilon", "finished", 24)
    assert swept_keys(sweep) == ["allocation.epsilon", "federation.fleet", "seed"]
    for trial, raw in zip(sweep.trials, state["trials"], strict=True):
        assert trial.run is not None
        assert trial.entry.values == raw["values"]
        assert trial.figure("validation_loss") == raw["figures"]["validation_loss"]
        assert trial.run.split("validation")[-1].loss == raw["figures"]["validation_loss"]


def test_groups_join_seeds_and_rank_by_their_mean(sweep_dir: Path) -> None:
    sweep, state = read_sweep(sweep_dir), _state(sweep_dir)
    groups = group_trials(sweep)
    assert [len(group.trials) for group in groups] == [3] * 8
    losses: dict[tuple[float, str], list[float]] = {}
    for raw in state["trials"]:
        key = (raw["values"]["allocation.epsilon"], raw["values"]["federation.fleet"])
        losses.setdefault(key, []).append(raw["figures"]["validation_loss"])
    means = {key: math.fsum(values) / 3 for key, values in losses.items()}
    order = sorted(means, key=lambda key: means[key])
    assert [(g.values["allocation.epsilon"], g.values["federation.fleet"]) for g in groups] == order
    spread = groups[0].spread("validation_loss")
    assert spread is not None
    assert (spread.low, spread.high, spread.count) == (min(losses[order[0]]), max(losses[order[0]]), 3)
    assert spread.mean == pytest.approx(means[order[0]], rel=1e-15)


def test_the_front_by_hand() -> None:
    #        A: least x   dominated by A   B         dominated by B  C: least y
    points = [(1.0, 9.0), (2.0, 9.5), (3.0, 4.0), (3.0, 5.0), (7.0, 1.0)]
    assert best_trials(points) == [0, 2, 4]
    assert best_trials(list(reversed(points))) == [4, 2, 0]
    assert best_trials([(1.0, 1.0), (1.0, 1.0), (2.0, 1.0)]) == [0, 1]
    assert best_trials([]) == []


def test_what_did_not_end_is_not_compared(mixed_dir: Path) -> None:
    sweep = read_sweep(mixed_dir)
    best = best_trial(sweep)
    assert best is not None
    assert best.finished
    counts = {tuple(group.values.values()): len(group.settled) for group in group_trials(sweep)}
    assert counts[(0.0, "extreme")] == 1  # trials 3, 4 failed
    assert counts[(0.25, "equal")] == 1  # 7, 8 stopped early
    running = sweep.trials[15]
    assert running.run is not None
    assert running.figure("validation_loss") == running.run.split("validation")[-1].loss  # from its files
    assert running.figure("wall_s") is None


def test_before_any_trial_has_ended_the_best_is_of_what_there_is(tmp_path: Path) -> None:
    endings: Endings = dict.fromkeys(range(1, 24), "pending") | {5: "running"}
    path = write_fake_sweep(tmp_path / "s", rounds=20, endings=endings, status="running")
    shutil.rmtree(path / _state(path)["trials"][0]["run"])
    _edit(path, lambda state: state["trials"][0].update(status="pending", figures={}, round=None))
    best = best_trial(read_sweep(path))
    assert best is not None
    assert best.entry.trial == 5
    page = _page(path)
    assert "running, round 10" in page.text
    assert "Best configurations" not in page.tables
    for state in ({"status": "pending", "figures": {}}, {"status": "running", "figures": {"validation_loss": None}}):
        shutil.rmtree(path / "trials", ignore_errors=True)
        _edit(path, lambda tree, state=state: [trial.update(state) for trial in tree["trials"]])
        assert "no trial has a value yet" in _page(path).text


def test_a_sweep_that_has_just_begun(tmp_path: Path) -> None:
    path = _edit(write_fake_sweep(tmp_path / "s", rounds=10), lambda state: state.update(trials=[], status="running"))
    page = _page(path)
    assert page.values()["Trials finished"] == "0 of 0"
    assert page.plots() == {}
    assert len(page.tables["Trials"]) == 1


def test_a_loss_that_is_not_finite_is_no_value(tmp_path: Path) -> None:
    path = write_fake_sweep(tmp_path / "s", rounds=10, endings={4: "failed"})
    metrics = path / _state(path)["trials"][4]["run"] / "metrics.jsonl"
    nan = {"kind": "eval", "round": 11, "split": "validation", "loss": math.nan, "accuracy": None}
    with metrics.open("a", encoding="utf-8") as file:
        file.write(json.dumps(nan) + "\n")
    assert read_sweep(path).trials[4].figure("validation_loss") is None
    page = _page(path)
    assert not re.search(r"\bnan\b", page.source, re.IGNORECASE)
    assert len(_tips(page.plots()["Validation loss against epsilon"])) == 23


def test_a_key_that_only_some_trials_have(tmp_path: Path) -> None:
    path = write_fake_sweep(tmp_path / "s", rounds=10)

    def some(state: dict[str, Any]) -> None:
        state["space"]["zo.clip"] = {"uniform": [0, 1]}
        for trial in state["trials"]:
            trial["values"]["zo.clip"] = trial["trial"] / 24 if trial["trial"] > 3 else None

    page = _page(_edit(path, some))
    # The four trials that lack the key have no place on its axis.
    assert len(_tips(page.plots()["Validation loss against clip"])) == 20


def test_a_sweep_killed_at_any_moment_has_a_page(mixed_dir: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(mixed_dir, tmp_path / "killed"))
    runs = [path / trial["run"] for trial in _state(path)["trials"]]
    with (runs[15] / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "round", "ro\xc3')
    (runs[16] / "allocation.json").unlink()
    shutil.rmtree(runs[0])
    (runs[1] / "provenance.json").write_text("{", encoding="utf-8")
    sweep = read_sweep(path)
    assert sweep.trials[15].run is not None
    assert (sweep.trials[16].run, sweep.trials[16].fault) == (None, "")  # not whole yet
    assert "no such run directory" in sweep.trials[0].fault
    page = _page(path)
    assert "The status in sweep.json is running" in page.text
    assert re.search(r"Trial 1: its files cannot be read: .*provenance\.json cannot be read as JSON", page.text)
    shown = next(row for row in page.tables["Trials"] if row[0] == "0")
    assert shown[6] == text_loss(_state(path)["trials"][0]["figures"]["validation_loss"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.update(version=2), r"sweep\.json: Sweep of version 2"),
        (lambda state: state.pop("trials"), r"sweep\.json: .*missing required field `trials`"),
        (lambda state: state.update(metrics=[]), r"sweep\.json: metrics: .*length >= 1"),
        (lambda state: state["trials"][2].update(run="../other"), r"trial 2: run '\.\./other' is outside"),
        (lambda state: state["trials"][2].update(run="/etc"), r"trial 2: run '/etc' is outside"),
    ],
)
def test_a_damaged_sweep_is_named(
    sweep_dir: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    (tmp_path / "sweep.json").write_text((sweep_dir / "sweep.json").read_text(encoding="utf-8"), encoding="utf-8")
    _edit(tmp_path, lambda state: change(state))
    with pytest.raises(RunDirError, match=message):
        read_sweep(tmp_path)


def test_refusals(sweep_dir: Path, tmp_path: Path) -> None:
    run_dir = write_fake_run(tmp_path / "run", rounds=2)
    with pytest.raises(RunDirError, match="is a sweep, which needs its own report"):
        write_report([run_dir, sweep_dir], tmp_path / "r.html")
    with pytest.raises(RunDirError, match=r"not a complete sweep directory: sweep\.json is missing"):
        read_sweep(tmp_path)
    with pytest.raises(RunDirError, match="no such sweep directory"):
        read_sweep(tmp_path / "none")


def test_headline(sweep_dir: Path, page: ReportPage) -> None:
    trials = _state(sweep_dir)["trials"]
    best = min(trials, key=lambda trial: trial["figures"]["validation_loss"])
    memory = [trial["figures"]["fleet_vram_bytes"] for trial in trials]
    shown = page.values()
    first = page.tables["Best configurations"][1]
    assert shown["Best validation loss"] == first[4], "one number for the best configuration"
    assert f"epsilon {first[1]}, fleet {first[2]}; 3 seeds. Best single trial: {best['trial']}, " in page.text
    assert text_loss(best["figures"]["validation_loss"]) in page.text
    assert shown["Trials finished"] == "24 of 24"
    assert shown["Total time"] == "31 min 13 s"
    assert shown["Fleet VRAM"] == f"{text_bytes(min(memory))} – {text_bytes(max(memory))}"
    assert "modelled, simulated accelerator" in page.text
    assert (
        "What do bytes saved by a larger ε cost in loss? 24 trials over allocation.epsilon (4 values), "
        "federation.fleet (2 values), seed (3 values): 24 finished; ranked by the lowest validation loss." in page.text
    )


def test_every_trial_has_its_row(mixed_dir: Path, mixed_page: ReportPage) -> None:
    page, state = mixed_page, _state(mixed_dir)
    rows = page.tables["Trials"]
    columns = {name: place for place, name in enumerate(rows[0])}
    assert len(rows) == 25
    failed = [row[columns["Status"]].startswith("failed") for row in rows[1:]]
    assert failed == sorted(failed), "what failed says nothing about its settings"
    known = [row[columns["Validation loss"]] for row in rows[1 : 1 + failed.count(False)]]
    assert known == sorted(text for text in known if text != "–") + ["–"] * known.count("–"), "best first"
    by_trial = {row[0]: row for row in rows[1:]}
    for trial in state["trials"]:
        row = by_trial[str(trial["trial"])]
        status = trial["status"] + (f": {trial['error']}" if trial["error"] else "")
        assert row[:5] == [
            str(trial["trial"]),
            f"{trial['values']['allocation.epsilon']:g}",
            trial["values"]["federation.fleet"],
            str(trial["values"]["seed"]),
            status,
        ]
        assert row[columns["Run directory"]] == trial["run"]
        if trial["status"] == "finished":
            figures = trial["figures"]
            assert row[columns["Validation loss"]] == text_loss(figures["validation_loss"])
            assert row[columns["Test accuracy"]] == text_percent(figures["test_accuracy"])
            assert row[columns["Fleet VRAM"]] == text_bytes(figures["fleet_vram_bytes"])
            assert row[columns["SHA-256 of θ"]] == trial["weights_sha256"][:12]
    assert by_trial["23"][5:] == ["0 / 20", *["–"] * (len(rows[0]) - 7), state["trials"][23]["run"]]


def test_failed_trials_show_error_and_log(mixed_dir: Path, mixed_page: ReportPage) -> None:
    page, state = mixed_page, _state(mixed_dir)
    assert "2 of 24 trials failed" in page.text
    assert page.text.count("LostClients: 1 of 6 reports in round 12, quorum 3") == 2
    links = {attributes.get("href") for tag, attributes in page.tags if tag == "a"}
    run = state["trials"][4]["run"].replace("=", "%3D")
    assert {f"{run}/trial.log", f"{run}/report.html"} <= links
    assert not any(state["trials"][3]["run"].replace("=", "%3D") in (link or "") for link in links)  # it has no files


def test_links_are_relative_to_the_page(mixed_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "r.html"
    links = [str(attributes["href"]) for tag, attributes in _page(mixed_dir, out).tags if tag == "a"]
    assert links
    for link in links:
        assert (out.parent / link.replace("%3D", "=")).is_file()


def test_settings_base_provenance_and_commands_are_whole(sweep_dir: Path, page: ReportPage) -> None:
    state = _state(sweep_dir)
    shown = {key: json.loads(value) for key, value in page.tables["Settings of the sweep"][1:]}
    assert shown == state["settings"]
    base = dict(page.tables["Base settings"][1:])
    assert {key.split(".")[0] for key in base} == set(state["base"])
    assert json.loads(dict(page.tables["Space"][1:])["allocation.epsilon.grid"]) == [0, 0.25, 0.5, 1]
    assert dict(page.tables["Provenance"][1:])["git.commit"] == "bb14dbc2d5d95bf87334c989328704549367c17b"
    assert "zorba-ray sweep tune_configs/sweeps/epsilon.yaml name=epsilon" in page.text
    assert f"zorba-ray report {sweep_dir}" in page.text


def _tips(plot: ET.Element) -> list[str]:
    """What stands beside the points; figures of curves have none."""
    return [node.findtext("title") or "" for node in plot.iter() if node.get("class") == "mark"]


def test_the_figures_of_a_sweep(sweep_dir: Path, page: ReportPage) -> None:
    plots, raw = page.plots(), _state(sweep_dir)["trials"]
    assert list(plots) == [
        "Pareto front: validation loss and fleet VRAM",
        "Validation loss of the best configurations",
        "Validation loss against epsilon",
        "Validation loss against fleet",
    ]
    assert {tip.splitlines()[0] for tip in _tips(plots["Pareto front: validation loss and fleet VRAM"])} == {
        f"epsilon {trial['values']['allocation.epsilon']:g}, fleet {trial['values']['federation.fleet']}"
        for trial in raw
    }
    for title in list(plots)[2:]:
        assert len(_tips(plots[title])) == 24
    loss = text_loss(raw[7]["figures"]["validation_loss"])
    assert f"Trial 7: epsilon 0.25, fleet equal, seed 2\nvalidation loss: {loss}" in _tips(plots[list(plots)[3]])


def test_points_on_the_front_are_counted(sweep_dir: Path, page: ReportPage) -> None:
    means: dict[tuple[float, str], list[tuple[float, float]]] = {}
    for raw in _state(sweep_dir)["trials"]:
        key = (raw["values"]["allocation.epsilon"], raw["values"]["federation.fleet"])
        means.setdefault(key, []).append((raw["figures"]["fleet_vram_bytes"], raw["figures"]["validation_loss"]))
    points = [tuple(math.fsum(column) / 3 for column in zip(*rows, strict=True)) for rows in means.values()]
    front = [(x, y) for x, y in points if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)]
    assert 2 <= len(front) < 8
    assert f"on the front, {len(front)} of 8" in page.text


def test_two_metrics_have_a_front_of_their_own(tmp_path: Path) -> None:
    metrics = (("validation_loss", "min"), ("test_accuracy", "max"))
    page = _page(write_fake_sweep(tmp_path / "s", rounds=10, metrics=metrics))
    assert "Pareto front: validation loss and test accuracy" in page.plots()
    assert "Better: low validation loss and high test accuracy." in page.text


def test_a_metric_to_be_raised_ranks_from_above(tmp_path: Path) -> None:
    path = write_fake_sweep(tmp_path / "s", rounds=10, metrics=(("validation_accuracy", "max"),))
    best = max(_state(path)["trials"], key=lambda trial: trial["figures"]["validation_accuracy"])
    page = _page(path)
    assert page.values()["Best validation accuracy"] == page.tables["Best configurations"][1][4]
    assert f"trial: {best['trial']}, {text_percent(best['figures']['validation_accuracy'])}" in page.text
    assert "ranked by the highest validation accuracy" in page.text
    assert "Validation accuracy of the best configurations" in page.plots()


def test_a_loguniform_key_has_a_logarithmic_axis(tmp_path: Path) -> None:
    path = write_fake_sweep(tmp_path / "s", rounds=10, loguniform=True)
    page = _page(path)
    assert "lr (logarithmic)" in page.source


def test_without_memory_to_trade_there_is_no_front(tmp_path: Path) -> None:
    path = write_fake_sweep(tmp_path / "s", rounds=10)
    _edit(path, lambda state: [t["figures"].update(fleet_vram_bytes=2**30) for t in state["trials"]])
    page = _page(path)
    assert not any("Pareto" in title for title in page.plots())
    assert "1 GiB" in page.values()["Fleet VRAM"]


def test_scales() -> None:
    assert is_log([1e-4, 1e-3, 1e-2])
    assert not is_log([0, 0.5, 1])
    assert not is_log([0.1, 0.3, 1])
    assert distinct_values([3, "b", None, 1.5, "a", 3]) == [1.5, 3, "b", "a", None]


HOSTILE = "<script>alert('$1^')</script>&\"' </svg></style>]]>--> {{ 7*7 }} "
HOSTILE += "\u202eabc\u0645\u0631\u062d\u0628\u0627 😀 \x01\x1b"
LONG = "very-long-" * 60


def test_hostile_text_is_escaped_everywhere(tmp_path: Path) -> None:
    path = write_fake_sweep(
        tmp_path / "<img src=x>",
        rounds=10,
        name=HOSTILE,
        question=HOSTILE,
        endings=MIXED,
        labels={"equal": HOSTILE, "extreme": LONG},
        error=HOSTILE + LONG + "\nsecond line",
    )

    def worse(state: dict[str, Any]) -> None:
        state["command"] += ["x=</script><script>alert(1)</script>", "\ud800 half a pair"]
        state["settings"]["</td>"] = {"<b>": HOSTILE}
        state["trials"][4]["log"] = "javascript:alert(1)"
        state["trials"][5]["name"] = HOSTILE
        state["trials"][6]["status"] = "<i>odd</i>"
        state["trials"][9]["values"]["federation.fleet"] = ["a", {"<u>": 1}]

    (path / "javascript:alert(1)").write_text("a log whose name is an address", encoding="utf-8")
    page = _page(_edit(path, worse))
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "img", "b", "i", "u"} & set(tags)
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    assert "javascript%3Aalert%281%29" in links
    assert not any(":" in link for link in links)
    printable = re.sub("[\x01\x1b\u202e]", "\ufffd", HOSTILE)
    assert next(row for row in page.tables["Trials"] if row[0] == "0")[2] == printable
    assert printable + LONG + "\nsecond line" in page.text
    assert "&lt;script&gt;alert" in page.source
    assert "\ufffd half a pair" in page.text
    allowed = {"svg", "g", "path", "use", "defs", "text", "clipPath", "rect", "title"}
    for plot in page.plots().values():  # well-formed, nothing escaped from its text
        assert {node.tag for node in plot.iter()} <= allowed


def test_the_page_is_the_same_twice(sweep_dir: Path, page: ReportPage) -> None:
    assert write_report([sweep_dir], sweep_dir / "report.html").read_text(encoding="utf-8") == page.source


def test_runs_of_several_versions_are_told(sweep_dir: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(sweep_dir, tmp_path / "s"))
    where = path / _state(path)["trials"][3]["run"] / "provenance.json"
    tree = json.loads(where.read_text(encoding="utf-8"))
    tree["git"]["commit"] = "f" * 40
    where.write_text(json.dumps(tree), encoding="utf-8")
    assert "run by different versions of the code" in _page(path).text


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(page: ReportPage, scheme: int) -> None:
    """4.5 for text, 3 for what is drawn (WCAG 2.2, 1.4.3 and 1.4.11)."""
    blocks = re.findall(r":root \{(.*?)\}", page.source, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", blocks[scheme]))
    for text, ground in (("ink", "card"), ("soft", "card"), ("soft", "ground"), ("accent", "card")):
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for drawn in ("blue", "red", "green"):
        assert _contrast(colours[drawn], colours["card"]) >= 3, drawn


def test_trials_on_other_data_never_share_an_axis(tmp_path: Path) -> None:
    path = write_fake_sweep(tmp_path / "s", rounds=10)

    def sweep_data(state: dict[str, Any]) -> None:
        state["space"]["data.path"] = {"grid": ["data/sst2", "data/trec"]}
        for trial in state["trials"]:
            trial["values"]["data.path"] = "data/trec" if trial["trial"] >= 12 else "data/sst2"

    page = _page(_edit(path, sweep_data))
    assert "cannot be compared. Each kind has its own figures: data/sst2; data/trec." in page.text
    titles = re.findall(r"<h3>([^<]*)</h3>", page.source)
    assert titles.count("Validation loss against fleet") == 2
    assert "Validation loss against path" not in titles
    assert page.source.index(">data/sst2</h2>") < page.source.index(">data/trec</h2>")


def test_zero_shot_is_no_test_accuracy_of_a_trial(tmp_path: Path) -> None:
    """The test split is evaluated before round 1 and at the end: a trial that was stopped has only the former."""
    path = write_fake_sweep(tmp_path / "s", rounds=10, endings={4: "stopped"})
    _edit(path, lambda state: state["trials"][4].update(figures={}))
    trial = read_sweep(path).trials[4]
    assert trial.run is not None
    assert [record.round for record in trial.run.split("test")] == [0]
    assert trial.figure("test_accuracy") is None
    assert trial.figure("validation_accuracy") is not None
