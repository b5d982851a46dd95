"""What each attack makes of a client's report, which are refused, and that a run says that it is under attack."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_comparison import write_fake_comparison
from tests.support.fake_sweep import write_fake_sweep
from tests.support.tiny_models import tiny_batch
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.adversaries import Attack, attacks_of
from zorba_ray.artifacts import Run, write_json
from zorba_ray.artifacts.sweep import read_sweep
from zorba_ray.config import ExperimentConfig, attack_names, load_attack
from zorba_ray.errors import ConfigError
from zorba_ray.protocol.messages import RoundPlan
from zorba_ray.report.comparison import load_comparison
from zorba_ray.report.comparison_page import comparison_warnings
from zorba_ray.report.run_page import run_page
from zorba_ray.report.sweep_page import sweep_warnings

VALUES = np.array([1.0, -2.0, 0.5, 4.0], dtype="f4")


def under(kind: str, scale: float = 1.0, clients: str = "[2]", *overrides: str) -> ExperimentConfig:
    return tiny_config(f"adversaries=[{{clients: {clients}, kind: {kind}, scale: {scale}}}]", *overrides)


def values(kind: str, scale: float = 1.0, client: int = 2, round: int = 5) -> np.ndarray:
    found = load_attack(kind)(tiny_config(), client, scale).values(VALUES, round)
    assert found.dtype == np.float32
    return found


def test_every_file_is_an_attack_that_a_run_may_have() -> None:
    assert len(attack_names()) == 9
    for name in attack_names():
        assert issubclass(load_attack(name), Attack)
        assert list(attacks_of(under(name))) == [2]


def test_values() -> None:
    assert values("sign_flip", 100).tolist() == (-100 * VALUES).tolist()
    assert values("scaling", 3).tolist() == (3 * VALUES).tolist()
    assert values("constant", 3e38).tolist() == [float(np.float32(3e38))] * 4
    assert np.isnan(values("not_finite")).all()
    for name in ("stale", "other_seed", "label_flip"):
        assert np.array_equal(values(name), VALUES)


def test_noise_is_its_own_in_each_round_and_client_and_the_same_when_asked_again() -> None:
    many = np.full(4000, 2.0, dtype="f4")
    attack = load_attack("noise")(tiny_config(), 2, 3.0)
    added = attack.values(many, 1) - many
    assert abs(added.mean()) < 0.4
    assert added.std() == pytest.approx(6.0, rel=0.05)
    assert np.array_equal(values("noise"), values("noise"))
    assert not np.array_equal(values("noise"), values("noise", round=6))
    assert not np.array_equal(values("noise"), values("noise", client=1))


def test_copies_are_equal_whoever_reports_and_whatever_the_data() -> None:
    assert np.array_equal(values("copies", 7, client=1), values("copies", 7, client=3))
    assert not np.array_equal(values("copies", 7), values("copies", 7, round=6))


def test_plans_of_another_round() -> None:
    plan = RoundPlan(5, 0.1, 1e-3, bytes(8))
    assert load_attack("stale")(tiny_config(), 2, 1.0).plan(plan).round == 4
    assert load_attack("other_seed")(tiny_config(), 2, 1.0).plan(plan).round > 2**32


def test_flipped_labels_leave_the_tokens() -> None:
    config, batch = under("label_flip"), tiny_batch("opt", 4, 7)
    (flipped,) = attacks_of(config)[2].batches([batch])
    assert (flipped.labels_B == len(config.data.label_words) - 1 - batch.labels_B).all()
    assert flipped.ids_BT is batch.ids_BT


def test_an_attack_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of less than 20 lines."""
    (tmp_path / "zorba_lab").mkdir()
    (tmp_path / "zorba_lab" / "half.py").write_text(
        "import numpy as np\n"
        "from zorba_ray.adversaries import Attack\n\n\n"
        "class Half(Attack):\n"
        "    def values(self, values, round):\n"
        "        return np.where(np.arange(len(values)) % 2, values, -self.scale * values).astype(np.float32)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert attacks_of(under("zorba_lab.half", 2.0))[2].values(VALUES, 1).tolist() == [-2.0, -2.0, -1.0, 4.0]


@pytest.mark.parametrize(
    ("adversaries", "more", "message"),
    [
        ("[{clients: [4], kind: noise}]", (), r"adversaries\[0\].clients names client 4; clients are 0 … 3"),
        ("[{clients: [], kind: noise}]", (), "at least 1 item"),
        ("[{clients: [1], kind: nois}]", (), "unknown attack; known attacks are constant, .*did you mean noise"),
        ("[{clients: [1], kind: my.lab}]", (), "the module my.lab cannot be imported"),
        ("[{clients: [1], kind: json.tool}]", (), "defines 0 subclasses of Attack; it must define exactly one"),
        ("[{clients: [1], kind: noise, scale: 0}]", (), "greater than 0"),
        ("[{clients: [1, 2], kind: noise}, {clients: [2], kind: stale}]", (), "name client 2 more than once"),
        ("[{clients: [1], kind: stale}]", ("method=fedavg",), "kind stale takes wrong directions"),
        ("[{clients: [1], kind: other_seed}]", ("method=fedavg",), "clients of method=fedavg have none"),
        (
            "[{clients: [1], kind: label_flip}]",
            ("task.kind=language_model", "data.label_words=[]", "data.label_shift=0"),
            "kind label_flip with task.kind=language_model",
        ),
    ],
)
def test_what_cannot_be_is_refused(adversaries: str, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(f"adversaries={adversaries}", *more)


def test_a_run_under_attack_says_so(tmp_path: Path) -> None:
    """In its summary, on its page, and while it runs."""
    notes: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "note":
            notes.append(event["text"])

    summary = run_here(under("sign_flip", 2.0, "[0, 2]", "zo.lr=1e-3"), tmp_path / "run", emit=emit)
    text = "2 of 4 clients attack (adversaries: clients 0, 2: sign_flip, scale 2)"
    assert summary["adversaries"] == ("clients 0, 2: sign_flip, scale 2",)
    assert any(warning.startswith(text) for warning in summary["warnings"])
    assert any(note.startswith(f"warning: {text}") for note in notes)
    page = run_page(Run(tmp_path / "run"))
    assert f"UNDER ATTACK: {text}." in page.lead
    honest = run_here(tiny_config("zo.lr=1e-3"), tmp_path / "honest")
    assert honest["adversaries"] == ()
    assert honest["weights_sha256"] != summary["weights_sha256"]
    assert "UNDER ATTACK" not in run_page(Run(tmp_path / "honest")).lead


def attack(run: Path) -> None:
    """Writes into the settings of a run that it was under attack."""
    tree = json.loads((run / "config.resolved.json").read_text())
    tree.pop("sha256", None)
    write_json(run / "config.resolved.json", {**tree, "adversaries": [{"clients": [1], "kind": "stale", "scale": 1.0}]})


def test_sweeps_and_comparisons_say_which_runs_are_under_attack(tmp_path: Path) -> None:
    sweep = read_sweep(write_fake_sweep(tmp_path / "sweep"))
    assert not any("attack" in text for text in sweep_warnings(sweep))
    for trial in sweep.trials[:2]:
        attack(trial.path)
    (told,) = [text for text in sweep_warnings(read_sweep(tmp_path / "sweep")) if "attack" in text]
    assert told.startswith("2 of 24 trials are under attack: 1 of 6 clients attacks (adversaries: client 1: stale")

    folder = write_fake_comparison(tmp_path / "comparison", methods=["zorba", "decomfl"])
    attack(folder / "zorba" / "seed-1")
    (told,) = [text for text in comparison_warnings(load_comparison(folder)) if "attack" in text]
    assert told.startswith("Under attack: zorba, 1 of 2 clients attacks")
