"""Takes the picture of a report on the first page: the first screen of the demo's report, light and dark.

`python docs/screenshots.py` runs the demo in one process, about a minute, and writes docs/figures/report-demo-light.png
and docs/figures/report-demo-dark.png. With a run directory as its argument it takes that run instead. It needs the
playwright package, Pillow (matplotlib brings it) and a Chromium of the system.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from zorba_ray.report import write_report

FOLDER = Path(__file__).parent / "figures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def run_demo(run_dir: Path) -> None:
    """The demo, without a tracker.

    Raises:
        subprocess.CalledProcessError: the run failed.
    """
    settings = ["federation.backend=sequential", "tracking.wandb=disabled"]
    subprocess.run([sys.executable, "-m", "zorba_ray", "run", "demo", *settings, "--run-dir", str(run_dir)], check=True)


def take(report: Path, folder: Path) -> list[Path]:
    """The first screen of `report` in both colour schemes, as PNG files in `folder`.

    Raises:
        SystemExit: no browser on the PATH, or the page printed a message.
    """
    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser_path is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    taken, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.goto(report.as_uri(), wait_until="load")
            taken.append(folder / f"report-demo-{scheme}.png")
            page.screenshot(path=taken[-1])
            # A palette is a third of the size, and the eye sees no difference.
            Image.open(taken[-1]).convert("RGB").quantize(
                256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            ).save(taken[-1], optimize=True)
        browser.close()
    if said:
        raise SystemExit(f"the page says: {'; '.join(said)}")
    return taken


def main() -> None:
    """Runs the demo if no run is given, and takes both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "demo"
        if len(sys.argv) == 1:
            run_demo(run_dir)
        report = write_report([run_dir], Path(folder) / "report.html")
        for path in take(report, FOLDER):
            print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()
