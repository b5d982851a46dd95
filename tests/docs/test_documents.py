"""What the documents tell a reader to type and to write: it exists, it parses, and what can run here runs."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.support.documents import PAGES, ROOT, blocks, commands, inline_code, written
from zorba_ray.cli.main import app
from zorba_ray.config import ExperimentConfig, load_config, load_sweep
from zorba_ray.config.base import known_keys

ELSEWHERE = {
    ".": "activates an environment",
    "aws": "needs an account at AWS",
    "docker": "needs a Docker daemon and the network; tests/docs/test_dockerfile.py reads the file",
    "export": "sets a variable of the reader's shell",
    "head=$(kubectl": "needs a Kubernetes cluster",
    "helm": "needs a Kubernetes cluster",
    "kubectl": "needs a Kubernetes cluster; tests/unit/test_cluster_files.py reads the manifests",
    "pip": "installs; tests/docs/test_wheel.py installs the wheel",
    "ray": "needs a running cluster; tests/integration/test_jobs.py submits jobs to one",
    "sbatch": "needs a Slurm cluster",
    "squeue": "needs a Slurm cluster",
    "scancel": "needs a Slurm cluster",
}
"""First word of what does not run in a test -> why."""
WALKED = ("docs/quickstart.md", "docs/learning-rate.md", "docs/memory.md", "docs/sweeps.md")
"""Pages whose zorba-ray commands run whole, in order, in a folder with the files of the page and of the quickstart."""
COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
KEYS = known_keys(ExperimentConfig)
SETTING = re.compile(rf"((?:{'|'.join(ExperimentConfig.model_fields)})(?:\.\w+)+)(?:[=:].*)?")


def zorba_ray(words: list[str]) -> list[str] | None:
    """The arguments of zorba-ray in a command, which may be a job's; None where there are none."""
    own = words[words.index("--") + 1 :] if words[0] == "ray" and "--" in words else words
    return own[1:] if own[0] == "zorba-ray" else None


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: str) -> None:
    assert [block.text for block in blocks(page) if not block.language] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page: str) -> None:
    """Options of zorba-ray are parsed by its own parser; targets, modules and files exist; others are known by name."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for words in commands(page):
        if (arguments := zorba_ray(words)) is not None:
            require_parsed(arguments)
        elif words[0] == "make":
            assert all(re.search(rf"^{target}:", makefile, re.M) for target in words[1:]), words
        elif words[0] == "python":
            known = words[1] == "-c" or (
                importlib.util.find_spec(words[2]) is not None if words[1] == "-m" else (ROOT / words[1]).exists()
            )
            assert known, words
        else:
            assert words[0] in ELSEWHERE, words


def require_parsed(arguments: list[str]) -> None:
    """A bare name is a mention of the command, capitals stand for what the reader puts in."""
    name, *rest = ["1" if argument == "N" else argument for argument in arguments]
    if name == "COMMAND":
        return
    assert name in COMMANDS, f"zorba-ray {name}"
    given = [argument for argument in rest if argument != "…"]
    if given:
        try:
            COMMANDS[name].make_context(name, list(given))
        except Exception as error:
            pytest.fail(f"zorba-ray {' '.join(arguments)}: {error}")
    keys = [argument.split("=")[0] for argument in given if "=" in argument and re.match(r"[a-z_.]+=", argument)]
    assert [key for key in keys if key not in KEYS and not key.startswith("sweep.")] == []


def test_a_wrong_option_and_a_wrong_setting_are_seen() -> None:
    for wrong in (["run", "my.yaml", "--dryrun"], ["runs", "my.yaml"]):
        with pytest.raises((pytest.fail.Exception, AssertionError)):
            require_parsed(wrong)
    with pytest.raises(AssertionError):
        require_parsed(["run", "my.yaml", "zo.learning_rate=1"])


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_exists(page: str) -> None:
    named = [
        match[1] for code in inline_code(page) if (match := SETTING.fullmatch(code)) and not code.endswith(".json")
    ]
    assert [name for name in named if name not in KEYS] == []


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language == "yaml" for block in blocks(page))])
def test_every_yaml_block_is_valid(page: str, tmp_path: Path) -> None:
    written("docs/quickstart.md", tmp_path)
    for place, block in enumerate(block for block in blocks(page) if block.language == "yaml"):
        file = tmp_path / (block.file or f"block{place}.yaml")
        file.write_text(block.text, "utf-8")
        if "space" in yaml.safe_load(block.text):
            load_sweep(str(file), [])
        else:
            load_config(str(file), [])


def test_the_readme_has_a_line_for_every_command() -> None:
    """The table under its heading, first column."""
    section = (ROOT / "README.md").read_text("utf-8").split("\n## Commands\n")[1].split("\n## ")[0]
    cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert sorted(name for cell in cells for name in re.findall(r"`([a-z]+)`", cell)) == sorted(COMMANDS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", WALKED)
def test_a_page_is_walked_through(page: str, tmp_path: Path) -> None:
    """Every zorba-ray command of its sh blocks ends with 0."""
    for source in ("docs/quickstart.md", page):
        written(source, tmp_path)
    for words in [words for words in commands(page) if words[0] == "zorba-ray"]:
        run([sys.executable, "-m", "zorba_ray", *words[1:]], tmp_path)


@pytest.mark.slow
def test_the_readmes_own_data_on_the_built_in_model(tmp_path: Path) -> None:
    """As it stands it needs the hub and some dozens of rows: the model is another, and its rows are repeated."""
    shown = {block.language: block.text for block in blocks("README.md") if block.language in ("csv", "yaml")}
    header, *rows = shown["csv"].splitlines()
    repeated = [f"{row[:-3]} {number}{row[-3:]}" for number in range(30) for row in rows]
    (tmp_path / "reviews.csv").write_text("\n".join([header, *repeated, ""]), "utf-8")
    (tmp_path / "reviews.yaml").write_text(shown["yaml"], "utf-8")
    changed = ["model.path=builtin", "data.max_length=64", "--dry-run"]
    assert "8 clients" in run([sys.executable, "-m", "zorba_ray", "run", "reviews.yaml", *changed], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language == "python" for block in blocks(page))])
def test_every_python_block_runs(page: str, tmp_path: Path) -> None:
    code = "".join(block.text for block in blocks(page) if block.language == "python" and ">>>" not in block.text)
    run([sys.executable, "-c", code], tmp_path)


@pytest.mark.slow
def test_modules_take_the_arguments_that_are_named() -> None:
    """Options, and names in small letters, stand in their help."""
    named: dict[str, set[str]] = {}
    for words in (words for page in PAGES for words in commands(page) if words[:2] == ["python", "-m"]):
        options = {word for word in words[3:] if re.fullmatch(r"-\w|--[\w-]+", word)}
        named.setdefault(words[2], set()).update(
            options, (word for word in words[3:4] if re.fullmatch("[a-z_]+", word))
        )
    for module, asked in named.items():
        said = run([sys.executable, "-m", module, "--help"], ROOT) if asked else ""
        assert [word for word in sorted(asked) if word not in said] == [], module


def run(command: list[str], folder: Path) -> str:
    """Its output; fails with it where the command fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout
