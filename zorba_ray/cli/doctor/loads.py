"""Loads all that a run would load before its first round: model, data, labels, allocation."""

from collections.abc import Iterator

from zorba_ray.cli.allowed_code import allowed_reward
from zorba_ray.cli.doctor import Finding
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ZorbaError


def check_loading(config: ExperimentConfig, source: str, allow_code: list[str] | None = None) -> Iterator[Finding]:
    """Loads as a run does, and writes nothing. A fault has the exit code that the run would have.

    Args:
        source: the run file, or a preset.
        allow_code: modules that `task.reward` may name.
    """
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.run_warnings import start_warnings
    from zorba_ray.experiment.scope import with_scope
    from zorba_ray.federation.accelerator import choose_accelerator

    try:
        choose_accelerator(config)
        setup = prepare(with_scope(config)[0], reward=allowed_reward(config, source, allow_code))
        warnings = start_warnings(setup)
        solve_allocation(setup)
    except ZorbaError as error:
        yield Finding("fault", str(error), "a run would end with this error", error.exit_code)
        return
    rows, blocks = len(setup.shards.table), setup.manifest.blocks
    yield Finding("ok", f"model ({blocks} blocks), data ({rows:,} training rows), labels and allocation are in order")
    for text in warnings:
        yield Finding("note", text, "a run would give this warning")
