"""Architectures that the memory model was not made for: counted before budgets rest on them, or refused."""

from zorba_ray.assignment import FleetSchedule
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ModelError
from zorba_ray.memory import FleetMemory, Workload
from zorba_ray.memory.count import counted
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.models import LoadedModel

FAMILIAR = frozenset({"opt", "gpt2", "llama", "mistral", "qwen2", "bert", "roberta", "xlm-roberta", "camembert"})
"""Model types whose formulas are held against the count in tests."""
APART = 0.05
"""Share by which a formula may miss the count where budgets rest on it."""
_REMEDY = (
    "The budgets of federation.fleet cannot be kept with it: leave them out, and limit the active blocks of a client "
    "with allocation.max_blocks"
)


def unfamiliar_memory(config: ExperimentConfig, loaded: LoadedModel, memory: FleetMemory, work: Workload) -> list[str]:
    """Warnings of a run whose memory figures rest on formulas for other architectures.

    Raises:
        ModelError: clients have budgets, and the formula is not within 5 % of the count, or nothing can be counted.
    """
    kind, model = str(loaded.network.config.get_text_config().model_type), f"model.path={config.model.path}"
    if not config.spec.allocates:
        if memory.of(None).source == "counted":
            return []
        return [
            f"a step of method={config.method} on model type {kind} could not be counted: memory figures are of the "
            "weights alone"
        ]
    if kind in FAMILIAR:
        return []
    budgets = set(FleetSchedule(config).budgets_at(1))
    if budgets == {None}:
        return [
            f"memory figures of model type {kind} come from formulas for usual transformers, which were not held "
            "against a count of this architecture"
        ]
    everything = frozenset(range(len(loaded.blocks)))
    for placement, budget in {memory.placement(budget): budget for budget in budgets}.items():
        for active in (everything, frozenset({0})):
            step = PairedStep(placement, active, config.zo.fixed_scope)
            try:
                count = counted(config.model, config.memory.compute_dtype, work, step).total
            except Exception as error:
                raise ModelError(
                    f"{model}: the memory of model type {kind} can be neither modelled nor counted "
                    f"({type(error).__name__}). {_REMEDY}"
                ) from error
            modelled = memory.of(budget).bytes_of(active)
            if abs(modelled / count - 1) > APART:
                raise ModelError(
                    f"{model}: a formula says that a client holds {modelled} bytes, a count of model type {kind} says "
                    f"{count}. {_REMEDY}"
                )
    return []
