"""Reports in a real Chromium: quiet, quick, self-contained; by eye, by keyboard, on a phone, in the dark, on paper.

Needs the playwright package and a Chromium of the system; nothing is downloaded.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import BROWSERS, View, browser_path, chromium
from tests.support.fake_comparison import LADDER, write_fake_comparison
from tests.support.fake_run import write_fake_run
from tests.support.fake_sweep import write_fake_sweep
from zorba_ray.config import method_names
from zorba_ray.report import write_report

pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

HOSTILE = "<script>alert(1)</script>\"'</svg> \u202eabc \u0645\u0631\u062d\u0628\u0627 😀 "
KINDS = ("sweep", "under_way", "hostile", "run", "answers", "runs", "comparison", "hostile_comparison")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    found = browser_path()
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with chromium(found) as browser:
        yield browser


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One report of each kind."""
    root = tmp_path_factory.mktemp("browser")
    endings: dict[int, Any] = {3: "failed", 4: "failed", 7: "stopped", 15: "running", 23: "pending"}
    hostile = {"equal": HOSTILE, "extreme": "long-" * 120}
    runs = [write_fake_run(root / name, name=name, rounds=20) for name in ("one", "two")]
    sources = {
        "sweep": [write_fake_sweep(root / "sweep")],
        "under_way": [write_fake_sweep(root / "under_way", endings=endings, status="running", rounds=30)],
        "hostile": [
            write_fake_sweep(
                root / "hostile",
                name=HOSTILE + "x" * 300,
                question=HOSTILE,
                endings=endings,
                labels=hostile,
                error=9 * HOSTILE + "y" * 999,
                rounds=30,
            )
        ],
        "run": runs[:1],
        "answers": [_with_answers(write_fake_run(root / "answers", rounds=20))],
        "runs": runs,
        "comparison": [write_fake_comparison(root / "comparison", tried={"mezo": {"0.001": 0.5, "0.003": 0.625}})],
        "hostile_comparison": [
            write_fake_comparison(
                root / "hostile_comparison",
                name=HOSTILE + "x" * 300,
                endings={"fedavg/seed-3": "diverged", "mezo/seed-1": "failed"},
                todo=("zorba/seed-2", "fedit/seed-1", "fedit/seed-2", "fedit/seed-3"),
            )
        ],
    }
    return {kind: write_report(dirs, root / f"{kind}.html") for kind, dirs in sources.items()}


def _with_answers(run: Path) -> Path:
    """Test rows of long and hostile text."""
    answer = {"text": HOSTILE + "long" * 200, "probability": 0.5, "loss": 1.0}
    texts = ["short", HOSTILE * 9, "word" * 400, "many words " * 200, "line\n" * 40]
    rows = [
        {"row": place, "prompt": text, "gold": text[:1500], "before": answer, "after": answer}
        for place, text in enumerate(texts * 4)
    ]
    (run / "answers.json").write_text(json.dumps({"of": 1000, "round": 20, "rows": rows}))
    return run


def _widths(page: Any) -> tuple[int, int]:
    """What the page takes and has, in pixels."""
    return tuple(page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]"))


@pytest.mark.parametrize("kind", KINDS)
def test_quiet_self_contained_and_small(browser: Any, pages: dict[str, Path], kind: str) -> None:
    with View(browser, pages[kind]) as view:
        assert view.said == []
        assert [url for url in view.asked if not url.startswith("data:")] == [pages[kind].as_uri()]
        for width in (1280, 1920):
            view.page.set_viewport_size({"width": width, "height": 800})
            takes, has = _widths(view.page)
            assert takes <= has == width
    assert pages[kind].stat().st_size <= (3_000_000 if kind not in ("run", "runs") else 1_000_000)


def test_a_comparison_shows_its_tables_curves_and_warnings(browser: Any, pages: dict[str, Path]) -> None:
    with View(browser, pages["comparison"]) as view:
        page = view.page
        captions = page.locator("caption").all_inner_texts()
        assert captions[:3] == ["Learning", "Cost", "Rates tried"]
        counts = [page.locator("table").nth(place).locator("tbody tr").count() for place in range(3)]
        assert counts == [len(method_names())] * 2 + [len(LADDER) * (len(method_names()) - 1) + 2]
        second = page.locator("table").first.locator("tbody tr").nth(1).locator("td").all_inner_texts()
        assert second[:5] == [method_names()[1], "0.003", "3", "0.5625 ± 0.1553", "0.0625 ± 0.0776"]
        titles = page.locator("figure h3").all_inner_texts()
        assert titles == [
            "Quality against memory", "Quality against bytes sent", "Loss against forward passes",
            "Accuracy against forward passes", "Loss against bytes",
        ]  # fmt: skip
        sent, passes = "bytes per client, up and down", "forward passes per client"
        axes = ("bytes of a client's accelerator", sent, passes, passes, sent)
        boxes = page.locator(".plot").evaluate_all("plots => plots.map(plot => plot.getBoundingClientRect())")
        assert all(box["width"] > 300 and box["height"] > 200 for box in boxes)
        for plot, axis in zip(page.locator(".plot").all(), axes, strict=True):
            drawn = {*method_names()} - ({"adamw", "mezo"} if axis == sent else set())  # they are central
            assert {*plot.locator("text").all_text_contents()} & {*method_names()} == drawn
        warning = "The best rate may be beyond those that were tried: mezo, 0.001 (lowest of 2)."
        assert page.locator(".warning").all_inner_texts() == [warning]
        visible = "table => table.parentElement.scrollWidth <= table.parentElement.clientWidth"
        page.set_viewport_size({"width": 1280, "height": 800})
        assert all(page.locator("main table").nth(place).evaluate(visible) for place in range(3))


def test_a_sweep_of_24_trials_opens_within_two_seconds(browser: Any, pages: dict[str, Path]) -> None:
    with View(browser, pages["sweep"]) as view:
        timing = "performance.getEntriesByType('navigation')[0]"
        assert 0 < view.page.evaluate(f"{timing}.loadEventEnd - {timing}.startTime") <= 2000
        assert view.page.locator("tbody tr").count() > 24 + 8


@pytest.mark.parametrize("kind", KINDS)
def test_text_alternatives_and_headings(browser: Any, pages: dict[str, Path], kind: str) -> None:
    with View(browser, pages[kind]) as view:
        faults = view.page.evaluate("""() => {
          const faults = [];
          for (const image of document.querySelectorAll("svg, img")) {
            const text = image.getAttribute(image.tagName === "IMG" ? "alt" : "aria-label") || "";
            if (text.length < 20) faults.push("no text alternative");
            if (image.getAttribute("role") !== "img") faults.push("no image to assistive software");
          }
          for (const table of document.querySelectorAll("table")) {
            const bare = (cell) => cell.scope !== "col" || !cell.textContent.trim();
            if (!table.caption || [...table.tHead.rows[0].cells].some(bare)) faults.push("no caption or headers");
          }
          const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
          if (new Set(ids).size !== ids.length) faults.push("an id twice");
          const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((node) => Number(node.tagName[1]));
          if (levels[0] !== 1 || levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
          if (levels.some((level, at) => at && level > levels[at - 1] + 1)) faults.push("a level of headings left out");
          if (document.documentElement.lang !== "en" || !document.title) faults.push("no language or title");
          return faults;
        }""")
        assert faults == []


_FOCUS = """() => {
  const node = document.activeElement;
  return [node === document.body ? "" : node.tagName.toLowerCase(), getComputedStyle(node).outlineStyle !== "none"];
}"""


def test_the_keyboard_reaches_tables_links_and_details(browser: Any, pages: dict[str, Path]) -> None:
    with View(browser, pages["under_way"]) as view:
        stops = []
        for _ in range(200):
            view.page.keyboard.press("Tab")
            stop = view.page.evaluate(_FOCUS)
            if not stop[0]:
                break
            stops.append(stop)
        assert all(seen for _, seen in stops)
        kinds = [kind for kind, _ in stops]
        assert {"div", "a", "summary"} == set(kinds)
        assert kinds.count("div") == view.page.locator("main > .scroll").count()
        assert kinds.count("summary") == view.page.locator("summary").count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_scrolls_one_way(browser: Any, pages: dict[str, Path], kind: str) -> None:
    with View(browser, pages[kind], viewport={"width": 390, "height": 844}, device_scale_factor=2) as view:
        takes, has = _widths(view.page)
        assert (takes, has) == (390, 390)
        sizes = view.page.evaluate("""() => [...document.querySelectorAll(".plot")].map((plot) =>
          Math.min(...[...plot.querySelectorAll("text")].map((text) =>
            parseFloat(getComputedStyle(text).fontSize) * plot.getScreenCTM().a)))""")
        assert min(sizes) >= 8  # pixels, of the smallest text of every figure


def test_the_first_screen_of_a_run_says_what_matters(browser: Any, pages: dict[str, Path]) -> None:
    """Unequal clients, learning, bytes and memory saved; below them bytes against budgets, and accuracy."""
    with View(browser, pages["run"], viewport={"width": 1280, "height": 800}) as view:
        bottom = "nodes => nodes.map(node => node.getBoundingClientRect().bottom)"
        tiles = view.page.locator(".tiles > div").evaluate_all(bottom)
        assert len(tiles) == 4
        assert max(tiles) < 300
        assert max(view.page.locator("figure .plot").evaluate_all(bottom)[:2]) <= 800
        assert view.page.locator("figure h3").first.inner_text().startswith("Memory (VRAM) of a client")


def test_a_folded_part_opens_by_key(browser: Any, pages: dict[str, Path]) -> None:
    with View(browser, pages["run"], color_scheme="dark") as view:
        summary = view.page.locator("summary").first
        settings = view.page.locator("details table").first
        assert not settings.is_visible()
        summary.focus()
        view.page.keyboard.press("Enter")
        assert settings.is_visible()
        view.page.keyboard.press("Tab")
        assert view.page.evaluate(_FOCUS) == ["pre", True], "what was folded is the next stop"
        assert view.said == []


def test_a_long_answer_opens_where_it_stands(browser: Any, pages: dict[str, Path]) -> None:
    with View(browser, pages["answers"], viewport={"width": 390, "height": 844}) as view:
        folded = view.page.locator("td details")
        before = folded.nth(1).bounding_box()["height"]
        for fold in folded.all():
            fold.locator("summary").focus()
            view.page.keyboard.press("Enter")
        assert folded.nth(1).bounding_box()["height"] > before
        assert _widths(view.page) == (390, 390)
        assert view.said == []


def _lightness(page: Any, selector: str, name: str) -> int:
    """Sum of the three channels, 0 to 765."""
    colour = page.locator(selector).first.evaluate(f"node => getComputedStyle(node).{name}")
    return sum(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(",")[:3])


@pytest.mark.parametrize("kind", ["sweep", "run"])
def test_figures_are_dark_in_the_dark_and_light_on_paper(browser: Any, pages: dict[str, Path], kind: str) -> None:
    with View(browser, pages[kind], color_scheme="dark") as view:
        page = view.page
        assert _lightness(page, "figure", "backgroundColor") < 150
        assert _lightness(page, ".plot text", "fill") > 600
        page.emulate_media(media="print")
        assert _lightness(page, "figure", "backgroundColor") == 765
        assert _lightness(page, ".plot text", "fill") == 0


def test_paper_shows_everything(browser: Any, pages: dict[str, Path]) -> None:
    with View(browser, pages["under_way"]) as view:
        view.page.emulate_media(media="print")
        boxes = view.page.locator("details table, .plot, article").evaluate_all(
            "nodes => nodes.map(node => node.getBoundingClientRect().height)"
        )
        assert len(boxes) > 5
        assert all(height > 20 for height in boxes)  # folded settings too
        data = view.page.pdf(format="A4")
    assert data.startswith(b"%PDF")
    assert 3 <= data.count(b"/Type /Page\n") <= 12
