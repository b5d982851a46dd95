"""Checks the memory formula for architectures for which it was not tested, by counting before a run."""

from zorba_ray.assignment import FleetSchedule
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ModelError
from zorba_ray.memory import FleetMemory, Workload
from zorba_ray.memory.count import counted
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.models import LoadedModel

FAMILIAR = frozenset({"opt", "gpt2", "llama", "mistral", "qwen2", "bert", "roberta", "xlm-roberta", "camembert"})
"""Model types for which tests compare the formula with the count."""
APART = 0.05
"""Largest relative difference of formula and count, if clients have budgets."""
_REMEDY = (
    "So the budgets of federation.fleet cannot be kept: drop federation.fleet, and limit the active blocks of a client "
    "with allocation.max_blocks"
)


def unfamiliar_memory(config: ExperimentConfig, loaded: LoadedModel, memory: FleetMemory, work: Workload) -> list[str]:
    """Warnings if the memory figures of a run come from a formula that was not tested for its architecture.

    Raises:
        ModelError: clients have budgets, and the formula differs from the count by more than 5 %, or counting fails.
    """
    kind, model = str(loaded.network.config.get_text_config().model_type), f"model.path={config.model.path}"
    if not config.spec.allocates:
        if memory.of(None).source == "counted":
            return []
        return [
            f"a step of method={config.method} on model type {kind} could not be counted: memory figures include only "
            "the weights"
        ]
    if kind in FAMILIAR:
        return []
    budgets = set(FleetSchedule(config).budgets_at(1))
    if budgets == {None}:
        return [
            f"memory figures come from a formula for usual transformers, which was not tested for model type {kind}"
        ]
    everything = frozenset(range(len(loaded.blocks)))
    for placement, budget in {memory.placement(budget): budget for budget in budgets}.items():
        for active in (everything, frozenset({0})):
            step = PairedStep(placement, active, config.zo.fixed_scope, stem_format=config.memory.stem_format)
            try:
                count = counted(config.model, config.memory.compute_dtype, work, step).total
            except Exception as error:
                raise ModelError(
                    f"{model}: the memory of model type {kind} cannot be counted ({type(error).__name__}), and the "
                    f"formula was not tested for it. {_REMEDY}"
                ) from error
            modelled = memory.of(budget).bytes_of(active)
            if abs(modelled / count - 1) > APART:
                raise ModelError(
                    f"{model}: for model type {kind} the memory formula gives {modelled:,} bytes for a client, and "
                    f"counting gives {count:,}. {_REMEDY}"
                )
    return []
