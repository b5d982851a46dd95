"""The allocation of settings without a run: what `zorba-ray allocate`, a dry run and the search of a rate look at."""

from zorba_ray.assignment import Solved, probe_decides, run_probe, solve
from zorba_ray.experiment.build import Setup, build_host


def solve_allocation(setup: Setup, epsilon: float | None = None) -> Solved:
    """Who activates which blocks in round 1, as a run would have it.

    All clients are probed, in this process, where a probe can change the answer.

    Args:
        epsilon: another ε at which the answer is looked at too, as on a front; None: that of the settings alone.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind, or rules that contradict each other.
    """
    fleet, probe = setup.fleet.at(1), None
    if probe_decides(setup, fleet, epsilon):
        host = build_host(setup.config, setup.header, setup.model)
        host.load_shards(setup.shards)
        probe = run_probe(setup, fleet, 1, host.state.chain, host.answer)
    return solve(setup, fleet, probe)
