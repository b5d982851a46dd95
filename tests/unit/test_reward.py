"""Rewards: those that come with the package, what is checked of each answer, and whose code runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from zorba_ray.errors import ConfigError, RewardError
from zorba_ray.tasks.reward import Reward
from zorba_ray.tasks.reward_code import OWN, RewardCode, read_reward
from zorba_ray.tasks.rewards import exact_match, token_f1

TEXTS, REFERENCES = ["The cat.", "", "two dogs ran"], ["cat", "", "dogs sat"]
RIGHT = [[text] for text in REFERENCES]


def written(folder: Path, source: str, name: str = "judge.py") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(source, "utf-8")
    return folder


def reward(folder: Path, body: str) -> Reward:
    """Of a module whose function has this body."""
    source = f"import math\ncalls = []\n\ndef score(texts, references):\n    calls.append(texts)\n    {body}\n"
    return Reward(read_reward("judge:score", ["judge"], written(folder, source)))


def test_the_rewards_of_the_package() -> None:
    assert exact_match(TEXTS, REFERENCES) == [1.0, 1.0, 0.0]
    assert token_f1(TEXTS, REFERENCES) == [1.0, 1.0, pytest.approx(0.4)]
    assert token_f1(["a b b", "", "x"], ["b b b", "x", ""]) == [pytest.approx(0.8), 0.0, 0.0]


@pytest.mark.parametrize("function", [exact_match, token_f1])
def test_texts_of_unequal_number_are_an_error(function: Callable[[Sequence[str], Sequence[str]], object]) -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        function(["x", "y"], ["x"])


def test_of_several_right_answers_the_best_counts(tmp_path: Path) -> None:
    judge = Reward(read_reward(f"{OWN}:token_f1", (), tmp_path))
    assert judge(["a b", "x", "c d"], [["z", "b"], ["x"], ["c", "d", "c d"]]).tolist() == [1.0, 1.0, 1.0]
    assert judge(["b c"], [["z", "b"]]).tolist() == [pytest.approx(2 / 3)]


def test_a_reward_is_called_twice_once(tmp_path: Path) -> None:
    judge = reward(tmp_path, "return [float(len(calls) < 4)] * len(texts)")
    assert judge(TEXTS, RIGHT).tolist() == [1.0] * 3  # calls 1 and 2
    assert judge(TEXTS, RIGHT).tolist() == [1.0] * 3  # call 3
    assert judge(TEXTS, RIGHT).tolist() == [0.0] * 3


def test_a_function_may_change_its_lists(tmp_path: Path) -> None:
    given = list(TEXTS)
    judge = reward(tmp_path, "n = len(texts); texts.clear(); references.clear(); return [1] * n")
    assert judge(given, RIGHT).tolist() == [1.0] * 3
    assert given == TEXTS


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [1.0 * len(calls), 0.0, 0.0]", r"asked twice, it gave 1 and then 2 \(row 1 of a batch of 3 rows"),
        ("return [len(r) / len(t) for t, r in zip(texts, references)]", r"raised ZeroDivisionError.*row 2 of a batch"),
        ("raise KeyError(len(texts)) if len(texts) > 1 else ValueError('alone')", "raised KeyError.*row 1 of"),
        ("return [1.0, math.nan, 0.0]", r"it gave nan \(row 2 of .*text '', reference ''"),
        ("return [1.0, 0.0, -math.inf]", r"it gave -inf \(row 3 of .*text 'two dogs ran'"),
        ("return [1.0, 0.0]", "it gave 2 numbers for 3 texts"),
        ("return [1.0, None, 0.0]", r"it gave None \(row 2 of"),
        ("return [1.0, '1', 0.0]", r"it gave '1' \(row 2 of"),
        ("return None", "it gave None, which is no list"),
        ("return 1.0", "it gave 1.0, which is no list"),
        ("return [0.0, 2e6, 0.0]", r"it gave 2e\+06 \(row 2 of"),
    ],
)
def test_an_answer_that_is_none_is_refused_by_row(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=message) as caught:
        reward(tmp_path, body)(TEXTS, RIGHT)
    assert str(caught.value).startswith("task.reward=judge:score: ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "body", ["import numpy; return numpy.ones(3, 'f4')", "return [True, 0, 1.5]", "yield from (1, 2, 3)"]
)
def test_numbers_of_other_kinds_are_taken(body: str, tmp_path: Path) -> None:
    assert len(reward(tmp_path, body)(TEXTS, RIGHT)) == 3


def test_code_that_is_not_allowed_is_not_run(tmp_path: Path) -> None:
    written(tmp_path, "raise SystemExit('it ran')\n")
    with pytest.raises(ConfigError, match=r"task.reward=judge:score: .*judge.py is code .* allow_code=\['judge'\]"):
        read_reward("judge:score", [], tmp_path)
    with pytest.raises(ConfigError, match=r"run it so: zorba-ray run a\.yaml --allow-code judge"):
        read_reward("judge:score", ["other", "judge.score"], tmp_path, "zorba-ray run a.yaml")
    assert isinstance(read_reward("judge:score", ["judge"], tmp_path), RewardCode)  # read, and still not run


def test_a_package_on_the_way_is_not_run_before_it_is_allowed(tmp_path: Path) -> None:
    written(tmp_path, "raise SystemExit('it ran')\n", "lab/__init__.py")
    written(tmp_path, "def score(texts, references):\n    return [1.0] * len(texts)\n", "lab/judge.py")
    assert read_reward("lab.judge:score", ["lab.judge"], tmp_path).file == str(tmp_path / "lab" / "judge.py")


def test_the_packages_own_need_no_leave(tmp_path: Path) -> None:
    judge = Reward(read_reward(f"{OWN}:token_f1", (), tmp_path))
    assert judge(TEXTS, RIGHT).tolist() == token_f1(TEXTS, REFERENCES)


def test_a_module_beside_the_run_file_may_import_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    written(tmp_path, "ONE = 1.0\n", "neighbour_of_judge.py")
    body = "from neighbour_of_judge import ONE; return [ONE] * len(texts)"
    assert reward(tmp_path, body)(TEXTS, RIGHT).tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("absent_module:score", "", "there is no module absent_module in"),
        ("judge.deeper:score", "", "there is no module judge.deeper"),
        ("math:sqrt", "", "there is no module math"),  # no source that could be read and have a digest
        ("judge:score", "import absent_module\n", r"judge.py cannot be run \(ModuleNotFoundError"),
        ("judge:score", "def score(:\n", r"judge.py cannot be run \(SyntaxError"),
        ("judge:score", "score = 1.0\n", "has no function score"),
        ("judge:other", "def score(texts, references): ...\n", "has no function other"),
    ],
)
def test_what_cannot_be_loaded_is_refused(name: str, source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_reward(name, [name.split(":")[0]], written(tmp_path, source)).load()


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    first = read_reward("judge:score", ["judge"], written(tmp_path, "def score(t, r): ...\n")).digest
    second = read_reward("judge:score", ["judge"], written(tmp_path, "def score(t, r): ... \n")).digest
    assert first != second
    assert len(first) == 32
