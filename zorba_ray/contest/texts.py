"""A comparison in words and cells of text: the terminal and the page show the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zorba_ray.contest.records import Contest, Contestant, Estimate, Outcome, Reached
from zorba_ray.units import format_bytes, format_seconds

NONE = "–"

Form = Callable[[float], str]


@dataclass(frozen=True)
class Grid:
    """A table of text; the first column names the method."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


def grids(state: Contest) -> list[Grid]:
    """All tables of a comparison, those without a figure left out."""
    found = [given(state), results(state), _paired(state), _targets(state), costs(state)]
    return [grid for grid in found if grid is not None]


def given(state: Contest) -> Grid:
    """What every method had: passes, rounds, learning rates."""
    rows = []
    for one in state.contestants:
        tried = ", ".join(f"{each.rate:g}: {_tried(each.loss, each.status)}" for each in one.tries) or "configured"
        rate = NONE if one.rate is None else f"{one.rate:g}" + (" (end of its ladder)" if one.at_end else "")
        rows.append(
            [
                one.method,
                f"{one.rounds:,}",
                f"{one.passes_per_round:,}",
                f"{one.passes_per_round * one.rounds:,}",
                f"{one.left_over:,}",
                rate,
                tried,
            ]
        )
    columns = ["Method", "Rounds", "Passes per round", "Passes", "Left over", "Rate", "Rates tried: final loss"]
    return Grid("What each method is given", columns, rows, _budget_note(state))


def results(state: Contest) -> Grid:
    """Losses and accuracies over the seeds."""
    rows = []
    for one, outcome in _both(state):
        figures = outcome.figures
        rows.append(
            [
                one.method,
                seeds_text(state, one.method),
                interval(figures.get("final_loss"), loss),
                interval(figures.get("best_loss"), loss),
                interval(figures.get("final_accuracy"), percent),
                interval(figures.get("best_accuracy"), percent),
                interval(figures.get("test_loss"), loss),
                interval(figures.get("test_accuracy"), percent),
            ]
        )
    columns = ["Method", "Seeds", "Final loss", "Best loss", "Final accuracy", "Best accuracy", "Test loss"]
    note = f"Mean ± half the 95 % interval of the mean (Student t over seeds). {_start(state)}"
    return Grid("Validation and test", [*columns, "Test accuracy"], rows, note)


def costs(state: Contest) -> Grid:
    """Bytes, memory and time."""
    budget = state.largest_budget_bytes
    rows = []
    for one, outcome in _both(state):
        figures, over = outcome.figures, outcome.over_budget_bytes
        rows.append(
            [
                one.method,
                interval(figures.get("bytes_up"), format_bytes),
                interval(figures.get("bytes_down"), format_bytes),
                _per_round(figures),
                NONE if outcome.vram_bytes is None else format_bytes(outcome.vram_bytes),
                NONE if over is None else f"{'+' if over > 0 else '−'}{format_bytes(abs(over))}",
                interval(figures.get("cpu_s"), format_seconds),
            ]
        )
    sources = dict.fromkeys(outcome.vram_source for outcome in state.outcomes if outcome.vram_source)
    note = (
        "Up and down: a client's encoded frames over the whole run. VRAM: the client that holds most, "
        f"{' and '.join(sources) or 'unknown'}. "
        + (
            "Over budget: beyond the largest budget of zorba's fleet, "
            f"{format_bytes(budget)}; no budget binds the others. "
            if budget is not None
            else "zorba's fleet has no budgets. "
        )
        + "CPU: seconds of all rounds, evaluation left out."
    )
    columns = ["Method", "Up", "Down", "Up + down per round", "VRAM", "Over budget", "CPU"]
    return Grid("Costs of a client", columns, rows, note)


def _paired(state: Contest) -> Grid | None:
    pairs = [(one, outcome) for one, outcome in _both(state) if outcome.differences]
    if not pairs:
        return None
    names = ("final_loss", "best_loss", "final_accuracy", "test_loss", "test_accuracy")
    rows = []
    for one, outcome in pairs:
        cells = [
            interval(outcome.differences.get(name), points if name.endswith("accuracy") else signed) for name in names
        ]
        final = outcome.differences.get("final_loss")
        rows.append([one.method, *cells, _verdict(final, state.contestants[0].method)])
    first = state.contestants[0].method
    columns = ["Method", "Final loss", "Best loss", "Final accuracy", "Test loss", "Test accuracy", "Lower final loss"]
    note = f"Method minus {first}, seed by seed, with the 95 % interval of the paired differences."
    return Grid(f"Differences to {first}", columns, rows, note)


def _targets(state: Contest) -> Grid | None:
    if not state.targets:
        return None
    rows = []
    for one, outcome in _both(state):
        cells = [_reached(reached) for reached in outcome.reached] or [NONE] * len(state.targets)
        rows.append([one.method, *cells])
    columns = ["Method", *(f"Loss {target:.4f}" for target in state.targets)]
    note = (
        "Rounds / forward passes of a client to the first evaluation at or below the loss, mean over the seeds; a "
        f"central method's passes are divided by the {state.participants} participants that it computes for."
    )
    return Grid("Rounds and forward passes to a loss", columns, rows, note)


def seeds_text(state: Contest, method: str) -> str:
    """'3', or as in '2 of 3; diverged: seed 2 after round 5'."""
    cells = state.cells_of(method)
    done = sum(cell.status == "finished" for cell in cells)
    parts = [f"{done}" if done == len(cells) else f"{done} of {len(cells)}"]
    diverged = [f"seed {cell.seed} after round {cell.round}" for cell in cells if cell.status == "diverged"]
    failed = [f"seed {cell.seed}" for cell in cells if cell.status == "failed"]
    parts += [f"diverged: {', '.join(diverged)}"] if diverged else []
    parts += [f"failed: {', '.join(failed)}"] if failed else []
    return "; ".join(parts)


def interval(found: Estimate | None, form: Form) -> str:
    """'0.9312 ± 0.0120'; without an interval '0.9312 ± –', without a value '–'."""
    if found is None or found.mean is None:
        return NONE
    half = NONE if found.half is None else form(found.half).removeprefix("+")
    return f"{form(found.mean)} ± {half}"


def loss(value: float) -> str:
    """Four decimals."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """Four decimals with the sign."""
    return f"{value:+.4f}".replace("-", "−")


def percent(value: float) -> str:
    """0.9012 -> '90.1 %'."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """0.012 -> '+1.2 points'."""
    return f"{100 * value:+.1f} pt".replace("-", "−")


def _both(state: Contest) -> list[tuple[Contestant, Outcome]]:
    outcomes = {outcome.method: outcome for outcome in state.outcomes}
    return [(one, outcomes.get(one.method) or Outcome(method=one.method)) for one in state.contestants]


def _tried(value: float | None, status: str) -> str:
    return loss(value) if value is not None else NONE if status == "pending" else status


def _per_round(figures: dict[str, Estimate]) -> str:
    both = [figures.get(f"bytes_{way}_per_round") for way in ("up", "down")]
    known = [one.mean for one in both if one is not None and one.mean is not None]
    return " + ".join(format_bytes(value) for value in known) if len(known) == 2 else NONE


def _verdict(found: Estimate | None, first: str) -> str:
    if found is None or found.mean is None or found.half is None:
        return NONE
    if not found.apart:
        return "within the interval"
    return first if found.mean > 0 else "this method"


def _reached(reached: Reached) -> str:
    known = [(rounds, reached.passes[seed]) for seed, rounds in reached.rounds.items() if rounds is not None]
    if len(known) < len(reached.rounds):
        missing = len(reached.rounds) - len(known)
        return "never" if not known else f"never in {missing} of {len(reached.rounds)}"
    mean = [sum(values) / len(known) for values in zip(*known, strict=True)]  # type: ignore[arg-type]
    return f"{mean[0]:,.0f} / {mean[1]:,.0f}"


def _start(state: Contest) -> str:
    figures = next((outcome.figures for outcome in state.outcomes if "start_loss" in outcome.figures), None)
    if figures is None:
        return "No run has finished yet."
    start = [f"loss {figures['start_loss'].mean:.4f}"]
    for key, name in (("start_accuracy", "accuracy"), ("start_test_accuracy", "test accuracy")):
        mean = figures[key].mean if key in figures else None
        start += [f"{name} {percent(mean)}"] if mean is not None else []
    return f"At the start: {', '.join(start)}."


def _budget_note(state: Contest) -> str:
    plain = next((one for one in state.contestants if not one.central), None)
    each = state.contestants[0].budget // state.participants if plain is None else plain.budget
    text = f"Budget: {each:,} forward passes of a client, {state.participants} asked in a round."
    if any(one.central for one in state.contestants):
        text += " A central method has one client and the passes of all participants together."
    if any(one.backward for one in state.contestants):
        text += " A forward and backward pass counts as three."
    if any(one.tries for one in state.contestants):
        share = f"{100 * state.settings['tuning_share']:.3g} %"
        text += f" Rates were tried on seed {state.tuning_seed}, which is not compared, in {share} of the rounds."
    return text
