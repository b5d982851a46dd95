"""Which runs a figure gets: groups over seeds, sweeps, what is left out and why."""

from pathlib import Path

import pytest

from analysis.groups import Group, collect
from tests.support.fake_family import edit, write_member, write_sweep
from zorba_ray.errors import RunDirError

Found = tuple[list[Group], list[str]]


def seeds_by_label(found: Found) -> dict[str, tuple[int, ...]]:
    return {group.label: group.seeds for group in found[0]}


def test_runs_that_differ_in_the_seed_alone_make_a_group(tmp_path: Path) -> None:
    for epsilon in (0.0, 0.5):
        for seed in (3, 1, 2):
            settings = {"allocation.epsilon": epsilon, "name": f"e{epsilon}s{seed}", "tracking.group": f"{seed}"}
            write_member(tmp_path / f"{epsilon}-{seed}", seed=seed, settings=settings)
    found = collect(sorted(tmp_path.iterdir()))
    assert seeds_by_label(found) == {"ε = 0": (1, 2, 3), "ε = 0.5": (1, 2, 3)}
    assert found[1] == []


def test_other_data_or_another_model_is_another_group(tmp_path: Path) -> None:
    """Paths are no numbers for a resume, but two data sets are two lines."""
    runs = [write_member(tmp_path / name, settings={"data.path": f"data/{name}"}) for name in ("sst2", "trec")]
    assert seeds_by_label(collect(runs)) == {"data = data/sst2": (1,), "data = data/trec": (1,)}


def test_a_group_alone_goes_by_its_method(tmp_path: Path) -> None:
    assert seeds_by_label(collect([write_member(tmp_path / "a")])) == {"zorba": (1,)}


def test_a_sweep_stands_for_its_trials_and_gives_values_their_names(tmp_path: Path) -> None:
    sweep = tmp_path / "vram"
    trials = []
    for index, (name, budgets) in enumerate({"equal": (3000, 3000), "uneven": (2000, 4000)}.items()):
        for seed in (1, 2):
            trial = f"{index}-{name}-{seed}"
            write_member(sweep / "trials" / trial, seed=seed, budgets=budgets)
            trials.append({"name": trial, "values": {"federation.fleet": name, "seed": seed}})
    write_sweep(sweep, trials)
    assert seeds_by_label(collect([sweep])) == {"fleet = equal": (1, 2), "fleet = uneven": (1, 2)}


def test_fleets_go_by_their_budgets(tmp_path: Path) -> None:
    runs = [write_member(tmp_path / f"{second}", budgets=(2000, second)) for second in (2000, 4000)]
    assert list(seeds_by_label(collect(runs))) == [
        "fleet = 1 × 1.953 KiB + 1 × 1.953 KiB",
        "fleet = 1 × 1.953 KiB + 1 × 3.906 KiB",
    ]


def test_what_is_not_drawn_is_named(tmp_path: Path) -> None:
    sweep = tmp_path / "s"
    write_member(sweep / "trials" / "0-good")
    write_member(sweep / "trials" / "1-twin")
    write_member(sweep / "trials" / "2-early", finished=False)
    edit(write_member(sweep / "trials" / "3-lost") / "summary.json", lambda tree: tree.update(status="lost_clients"))
    (write_member(sweep / "trials" / "4-torn") / "allocation.json").write_text("{", encoding="utf-8")
    write_sweep(
        sweep,
        [{"name": f"{n}"} for n in ("0-good", "1-twin", "2-early", "3-lost", "4-torn")]
        + [
            {"name": "5-broken", "status": "failed", "error": "Diverged: nan"},
            {"name": "6-later", "status": "pending"},
        ],
    )
    found = collect([sweep, sweep / "trials" / "0-good"])  # the same run twice counts once
    assert seeds_by_label(found) == {"zorba": (1,)}
    reasons = {Path(line.partition(": ")[0]).name: line.partition(": ")[2] for line in found[1]}
    assert reasons.keys() == {"1-twin", "2-early", "3-lost", "4-torn", "5-broken", "6-later"}
    assert reasons["1-twin"].startswith("repeats seed 1 of")
    assert reasons["2-early"] == "unfinished after round 1"
    assert reasons["3-lost"] == "lost clients after round 2"
    assert "allocation.json cannot be read as JSON" in reasons["4-torn"]
    assert reasons["5-broken"] == "failed (Diverged: nan), no run"
    assert reasons["6-later"] == "pending, no run"


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="none: no such directory"):
        collect([tmp_path / "none"])
    with pytest.raises(RunDirError, match="is not a complete run directory"):
        collect([tmp_path])
    (tmp_path / "sweep.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunDirError, match=r"sweep\.json cannot be read"):
        collect([tmp_path])


def test_no_finished_run(tmp_path: Path) -> None:
    run = write_member(tmp_path / "a", finished=False)
    with pytest.raises(RunDirError, match=r"no finished run in .*\n.*a: unfinished after round 1"):
        collect([run])
