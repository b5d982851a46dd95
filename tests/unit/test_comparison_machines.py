"""Who can take part in which method, from a fleet and the bytes of placements; and what a comparison makes of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.fake_comparison import write_fake_comparison
from tests.support.report_page import ReportPage
from tests.support.tiny_run import tiny_config
from zorba_ray.artifacts.campaigns import MachineFit, MethodFit, MethodPlacement
from zorba_ray.assignment.fleet import Client
from zorba_ray.campaigns.comparison import plan_comparison
from zorba_ray.campaigns.comparison.cells import planned_run
from zorba_ray.campaigns.comparison.machines import fit_of, method_fit, quickest
from zorba_ray.cli.main import app
from zorba_ray.config import ExperimentConfig
from zorba_ray.config.memory import MemoryConfig
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.client_memory import workload
from zorba_ray.memory import client_memory
from zorba_ray.memory.count import counted
from zorba_ray.methods import method_of
from zorba_ray.report import write_report
from zorba_ray.report.comparison import comparison_rows, load_comparison
from zorba_ray.report.comparison_points import points_of

FLEET = "federation.fleet=[{name: big, count: 1, vram: 4.2 MB}, {name: small, count: 3, vram: 2 MB}]"
PACKED = ("memory={frozen_format: nf4}", "zo.scope=all", "data.batch_size=4")


def place(name: str, bytes: int, seconds: float, format: str = "compute") -> MethodPlacement:
    return MethodPlacement(name=name, format=format, bytes=bytes, seconds=seconds)


RESIDENT, CHECKPOINTED = place("resident", 100, 1.0), place("checkpointed", 60, 1.5)
PACKED_RESIDENT, PACKED_CHECKPOINTED = place("resident", 70, 1.4, "nf4"), place("checkpointed", 30, 2.4, "nf4")
ALL = (RESIDENT, CHECKPOINTED, PACKED_RESIDENT, PACKED_CHECKPOINTED)


def fleet(*budgets: int) -> list[Client]:
    return [Client(number, f"of {budget}", budget) for number, budget in enumerate(budgets)]


@pytest.mark.parametrize(
    ("budget", "taken"),
    [(100, RESIDENT), (99, CHECKPOINTED), (60, CHECKPOINTED), (59, CHECKPOINTED)],
)
def test_a_machine_takes_the_quickest_placement_that_fits(budget: int, taken: MethodPlacement) -> None:
    """To the byte; a machine that holds none is told the smallest."""
    assert quickest(budget, (RESIDENT, CHECKPOINTED)) == taken
    assert quickest(budget, (CHECKPOINTED, RESIDENT)) == taken


@pytest.mark.parametrize(
    ("budgets", "format", "left_out"),
    [
        ((200, 60), "compute", ()),  # both formats suit everybody, and this one is finer
        ((70, 71), "compute", ()),  # although a packed base would be quicker than checkpointing
        ((200, 59), "nf4", ()),  # only a packed base lets the second in, with checkpointing
        ((200, 29), "compute", (1,)),  # no format helps the second
        ((29, 10), "compute", (0, 1)),
    ],
)
def test_one_format_for_all_with_which_most_take_part(
    budgets: tuple[int, ...], format: str, left_out: tuple[int, ...]
) -> None:
    fit = fit_of(fleet(*budgets), ALL)
    assert (fit.format, fit.left_out, fit.clients) == (format, left_out, len(budgets))
    assert {machine.placement.format for machine in fit.machines} == {format}
    missing = [machine.missing_bytes for machine in fit.machines]
    least = min(where.bytes for where in ALL if where.format == format)
    assert missing == [max(0, least - budget) for budget in budgets]


def plan(*methods: str, base: ExperimentConfig | None = None, **changes: Any) -> Any:
    given: dict[str, Any] = {"rates": {}, "tune_share": 0.5, "overrides": {}} | changes
    return plan_comparison(base or tiny_config(*PACKED, FLEET), methods, 1, **given)


def test_bytes_are_those_of_the_methods_own_step() -> None:
    """Counted with checkpointing and without, for each format; zorba's by its formula and budgets."""
    base = tiny_config(*PACKED, FLEET)
    setup = prepare(base)
    config = planned_run(plan("fedit", base=base), "fedit", 1, 0.1, tuning=False).config
    fit = method_fit(config, setup)
    assert [(where.name, where.format) for where in fit.placements] == [
        (name, format) for format in ("compute", "int8", "nf4") for name in ("resident", "checkpointed", "streamed")
    ]
    step = replace(method_of(config).local_step(config), base_format="nf4", checkpoint=True)
    work = workload(config, setup.model.loaded, setup.header.sections)
    bare = config.model.model_copy(update={"lora": None})
    footprint = counted(bare, config.memory.compute_dtype, work, step)
    assert fit.placements[-2].bytes == footprint.total
    # Streamed: instead of six blocks two buffers of one, which keep vectors in fp32.
    assert footprint.total - fit.placements[-1].bytes == pytest.approx(footprint.parts["frozen"] * 4 / 6, rel=0.02)
    assert fit.placements[-1].seconds > fit.placements[-2].seconds
    own = method_fit(base, setup)
    assert own.source == "modelled"
    for machine in own.machines:
        memory = setup.memory.of(machine.budget_bytes)
        assert machine.placement.bytes <= machine.budget_bytes
        assert machine.placement.blocks == setup.memory.room(machine.budget_bytes) > 0
        assert machine.placement.bytes == memory.bytes_of(frozenset(range(machine.placement.blocks or 0)))
    tight = tiny_config(
        *PACKED, "memory={frozen: auto, master: auto, frozen_format: auto}", FLEET.replace("2 MB", "1 B")
    )
    (_, small), placements = method_fit(tight, prepare(tight)).machines, [
        client_memory(setup.manifest, MemoryConfig(frozen=frozen, master=master, frozen_format=format), "all", work)
        for frozen in ("device", "host") for master in ("device", "host") for format in ("compute", "int8", "nf4")
    ]  # fmt: skip
    assert small.missing_bytes == min(one.base + one.active_extra.min() for one in placements) - 1
    only = method_fit(config, setup, ("checkpointed",), ("int8",))
    assert [(where.name, where.format) for where in only.placements] == [("checkpointed", "int8")]
    with pytest.raises(ConfigError, match="a client of mezo has none of these; it can be resident or streamed"):
        method_fit(planned_run(plan("mezo", base=base), "mezo", 1, 0.1, tuning=False).config, setup, ("checkpointed",))


def test_a_run_has_the_format_and_without_the_clients_that_are_too_small() -> None:
    fit = fit_of(fleet(200, 50, 50, 29), ALL)
    fits = {"zorba": fit, "fedit": fit, "mezo": fit_of(fleet(10), (RESIDENT,))}
    made = replace(plan("zorba", "fedit", "mezo"), fits=fits)
    configs = {name: planned_run(made, name, 1, 0.1, tuning=False).config for name in fits}
    assert configs["fedit"].memory.frozen_format == "nf4"
    assert configs["zorba"].memory == tiny_config(*PACKED, FLEET).memory
    for name in ("zorba", "fedit"):
        assert [(change.round, change.client, change.present) for change in configs[name].federation.changes] == [
            (1, 3, False)
        ]
    assert configs["mezo"].federation.changes == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"placements": {"fedit": ("resident", "hidden")}}, "'hidden' is no placement; name some of resident"),
        ({"placements": {"zorba": ("resident",)}}, "its placements are set by memory.frozen"),
        ({"placements": {"mezo": ("resident",)}}, "mezo is not in the comparison"),
        ({"placements": {"fedit": ("resident",)}, "base": tiny_config()}, "there are no budgets; set federation.fleet"),
        (
            {"base": tiny_config(*PACKED, "federation.fleet={distribution: uniform, low: 2 MB, high: 3 MB}")},
            "federation.fleet is a distribution, from which every seed would draw other machines",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan("zorba", "fedit", **changes)


def test_a_method_that_no_machine_can_run_is_a_row(tmp_path: Path) -> None:
    """From the command: fedavg is too large for all, fedit for three of four, and zorba for one; a resume counts
    nothing again."""
    fleet = FLEET.replace(
        "small, count: 3, vram: 2 MB", "small, count: 2, vram: 2 MB}, {name: tiny, count: 1, vram: 1 MB"
    )
    arguments = [
        "compare", "demo", "rounds=3", "federation.clients=4", "federation.backend=sequential", "eval.rows=32", fleet,
        "eval.every=3", "data.train_rows=64", "tracking.wandb=disabled", "--seeds", "1", "--dir", str(tmp_path / "c"),
        "--methods", "zorba,fedit,fedavg", "--rates", "zorba=0.001", "--rates", "fedit=0.001",
        "--placements", "fedit=resident", "--placements", "fedavg=resident", "--set", "fedit:memory.frozen_format=int8",
    ]  # fmt: skip
    found = CliRunner().invoke(app, [*arguments, "--json"])
    assert found.exit_code == 0, found.output
    record = load_comparison(tmp_path / "c")
    zorba, fedit, fedavg = comparison_rows(record)
    assert [row["clients_that_fit"] for row in (zorba, fedit, fedavg)] == [3, 1, 0]
    assert [zorba["missing_bytes"][kind] > 0 for kind in ("big", "small", "tiny")] == [False, False, True]
    assert zorba["seeds"] == [1]
    assert fedavg["seeds"] == []
    assert fedavg["missing_bytes"]["small"] - fedavg["missing_bytes"]["big"] == 2_200_000
    state = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert [*state["cells"]] == ["zorba/seed-1", "fedit/seed-1"]
    (run,) = record.results[1].runs.values()
    assert [client.present for client in run.allocation.clients] == [True, False, False, False]
    assert run.rounds[0].clients_asked == 1
    assert 0 < fedit["data_share_mean"] < 0.6
    again = CliRunner().invoke(app, [*arguments, "--resume"])
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "c" / "compare.json").read_text())["fits"] == state["fits"]
    assert "0 of 4" in again.output
    assert "No run yet" not in again.output
    state["fits"] = {}  # as an older program left it
    (tmp_path / "c" / "compare.json").write_text(json.dumps(state))
    assert CliRunner().invoke(app, [*arguments, "--resume"]).exit_code == 0
    assert json.loads((tmp_path / "c" / "compare.json").read_text())["fits"] == {}


def test_the_page_says_who_fits_and_draws_both_figures(tmp_path: Path) -> None:
    path = write_fake_comparison(tmp_path / "c", methods=("zorba", "fedit", "mezo"))
    state = json.loads((path / "compare.json").read_text())
    machines = (
        MachineFit(kind="big", clients=(0,), budget_bytes=100, placement=PACKED_RESIDENT),
        MachineFit(kind="small", clients=(1,), budget_bytes=20, placement=PACKED_CHECKPOINTED),
    )
    state["fits"] = {"fedit": MethodFit(machines=machines, placements=ALL).tree()}
    (path / "compare.json").write_text(json.dumps(state))
    record = load_comparison(path)
    _, fedit, mezo = points_of(record)
    assert (fedit.used, fedit.other) == ((70,), (30,))  # the others would be another θ
    assert mezo.sent is None
    low, high = fedit.low, fedit.high
    assert fedit.quality == pytest.approx(3 / 4 - 1 / 32)
    assert low < fedit.quality < high
    page = ReportPage(write_report([path], tmp_path / "page.html"))
    for text in (
        "1 of 2",
        "too small by 10 B: the smallest placement (checkpointed, nf4 base) holds 30 B",
        "Quality against memory",
        "Quality against bytes sent",
    ):
        assert text in page.text, text
