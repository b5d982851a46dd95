"""The wheel, built from the source distribution and installed away from the repository, runs the demo and the API."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.documents import ROOT

pytestmark = pytest.mark.slow
SMALL = ["rounds=2", "federation.backend=sequential", "data.train_rows=64", "eval.rows=32", "tracking.wandb=disabled"]


def run(command: list[str | Path], folder: Path) -> str:
    """Its output, run where neither the repository nor an editable installation is on the path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows, through the source distribution."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], out)
    assert len(list(out.glob("*.tar.gz"))) == 1
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a new environment: the wheel is its own, its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    scripts = folder / "bin"
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("site-packages")), "utf-8"
    )
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python"]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], folder)
    return scripts


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"zorba_ray"}
    tracked = subprocess.run(["git", "ls-files", "zorba_ray"], cwd=ROOT, capture_output=True, text=True).stdout
    assert sorted(set(tracked.splitlines()) - set(names)) == [], "named in package-data?"
    assert "zorba_ray/py.typed" in names


def test_the_demo_and_the_api_run_from_another_folder(installed: Path, tmp_path: Path) -> None:
    shown = run([installed / "zorba-ray", "run", "demo", *SMALL, "--run-dir", "runs/a"], tmp_path)
    assert (tmp_path / "runs" / "a" / "report.html").exists(), shown
    code = (
        "import zorba_ray; print(zorba_ray.__file__);"
        f"run = zorba_ray.run(zorba_ray.load_config('demo', *{SMALL}), 'runs/b');"
        "print(run.status, zorba_ray.replay('runs/b').digest == run.summary.weights_sha256)"
    )
    file, ended = run([installed / "python", "-c", code], tmp_path).splitlines()[-2:]
    assert Path(file).is_relative_to(installed.parent)
    assert ended == "finished True"
