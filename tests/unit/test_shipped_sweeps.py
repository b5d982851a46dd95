"""Every sweep in the repository plans as it stands, and the mission's six each have a tiny twin of the same space."""

from pathlib import Path

import pytest

from zorba_ray.campaigns.sweep.plan import plan_trials
from zorba_ray.config import load_sweep
from zorba_ray.config.federation import FleetClass

SWEEPS = Path(__file__).resolve().parents[2] / "tune_configs" / "sweeps"
MISSION = ("epsilon", "perturbation_scale", "clients", "vram_heterogeneity", "seeds_mode", "non_iid")


@pytest.mark.parametrize("path", sorted(SWEEPS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(SWEEPS)))
def test_it_plans(path: Path) -> None:
    sweep, base = load_sweep(str(path))
    assert sweep.question.endswith("?")
    assert sweep.name == (f"tiny-{path.stem}" if path.parent.name == "tiny" else path.stem)
    assert len(plan_trials(sweep, base)) >= 2


@pytest.mark.parametrize("name", MISSION)
def test_it_has_a_twin(name: str) -> None:
    full, _ = load_sweep(str(SWEEPS / f"{name}.yaml"))
    twin, base = load_sweep(str(SWEEPS / "tiny" / f"{name}.yaml"))
    assert list(full.space) == list(twin.space)
    assert full.metric == twin.metric
    assert all(plan.config.rounds <= 4 for plan in plan_trials(twin, base))


def test_the_clients_sweep_is_the_one_that_was_asked_for() -> None:
    """2 … 64 clients at fixed total data."""
    plans = plan_trials(*load_sweep(str(SWEEPS / "clients.yaml")))
    assert sorted({plan.config.federation.clients for plan in plans}) == [2, 4, 8, 16, 32, 64]
    assert len({plan.config.data.train_rows for plan in plans}) == 1


def test_the_fleets_have_one_total() -> None:
    """From equal budgets to extreme spread at the same total."""
    plans = plan_trials(*load_sweep(str(SWEEPS / "vram_heterogeneity.yaml")))
    fleets = [plan.config.federation.fleet for plan in plans]
    totals = {
        sum(kind.count * kind.vram for kind in fleet if isinstance(kind, FleetClass))
        for fleet in fleets
        if isinstance(fleet, tuple)
    }
    assert totals == {8 * 2_914_272}
