"""`MethodSpec`, what a federated method declares about itself, and how a method is found by its name.

`method: NAME` is the module zorba_ray.methods.NAME. A name with dots, as in `method: my_lab.my_method`, is that module,
on the path of Python. The module has one class, a `MethodSpec`. The import uses importlib (`config.modules`), because
the package `config` may not import `methods`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from zorba_ray.config.base import StrictModel
from zorba_ray.config.memory import Format, StemFormat
from zorba_ray.config.model import Targets
from zorba_ray.config.modules import class_named, modules_of
from zorba_ray.config.zo import FixedScope

if TYPE_CHECKING:
    from zorba_ray.config.experiment import ExperimentConfig

Commits = Literal["scalars", "mean", "pool", "tensors"]
"""The kinds of commits; `LedgerHeader.commits` explains them."""
DEFAULT_METHOD = "zorba"
PACKAGE = "zorba_ray.methods"
_Settings = TypeVar("_Settings", bound=StrictModel)


class NoSettings(StrictModel):
    """The section `method_settings` of a method that has no settings."""


@dataclass(frozen=True)
class LocalStep:
    """What decides the memory of a local step, for a client that has its whole model on the accelerator."""

    backward: bool = False
    """true: backpropagation. false: a forward pair that changes θ in place and draws z again tensor by tensor, as MeZO
    does."""
    moments: bool = False
    """Whether AdamW keeps two moments of every trained parameter, here in the compute dtype, the smallest choice."""
    rank: int = 0
    """r of the LoRA adapters, if only these are trained; 0: the model itself is trained."""
    targets: Targets = "attention"
    """Layers of a block with adapters."""
    seeds: int = 0
    """Number of candidate seeds, with an fp32 accumulator each."""
    stored: bool = False
    """Whether one flat z is kept from the first perturbation to the update."""
    checkpoint: bool = False
    """Whether the forward pass keeps the input of each block alone, and the backward pass runs the block once more
    (activation checkpointing)."""
    base_format: Format = "compute"
    """How the frozen matrices of the blocks are kept, if only adapters are trained."""
    stem_format: StemFormat = "compute"
    """How the matrices outside the blocks are kept, if only adapters are trained."""
    scope: FixedScope | None = None
    """The trained tensors of the blocks, as in a run without adapters; None: the whole model, as in the publication."""


class MethodSpec:
    """What a method declares about itself. `zorba_ray.methods.Method` adds the computations of a round. No torch
    here."""

    commits: ClassVar[Commits] = "scalars"
    allocates: ClassVar[bool] = False
    """Whether the server decides which blocks a client activates, within the budgets of `federation.fleet`. If not,
    every client holds and trains every block."""
    backward: ClassVar[bool] = False
    """Whether clients backpropagate; if not, they run only forward passes."""
    adapters: ClassVar[bool] = False
    """Whether only LoRA adapters are trained."""
    central: ClassVar[bool] = False
    """Whether one client holds all examples, so that nothing is sent."""
    one_rate: ClassVar[bool] = False
    """Whether the learning rate must be the same in all rounds."""
    scalar_reports: ClassVar[bool] = False
    """Whether a report is fp32 projected gradients and nothing else, as `privacy` and `federation.aggregate` need. It
    is not inherited: a method that is derived from another may report something else."""
    steps_in: ClassVar[Literal["zo", "method_settings"]] = "zo"
    """The section that has lr, schedule and local_steps."""
    Settings: ClassVar[type[StrictModel]] = NoSettings
    """Class of the section `method_settings`; its defaults are those that the authors published."""
    published: ClassVar[Mapping[str, Any]] = {}
    """Dotted setting of another section -> the value that the authors published. It is the default for this method."""

    profiles: ClassVar[Mapping[str, LocalStep]] = {}
    """Label -> local step as published: the rows of `zorba-ray profile`. Empty for a method that allocates: its rows
    are the placements of blocks."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.scalar_reports = cls.__dict__.get("scalar_reports", False)
        if cls.allocates and cls.commits != "scalars":
            raise TypeError(
                f"{cls.__name__}: allocates=True with commits={cls.commits}: only the scalars of each client say which "
                "blocks they move; set allocates=False"
            )

    @classmethod
    def local_steps(cls, config: "ExperimentConfig") -> int:
        """K: minibatches of a client in a round."""
        return getattr(config, cls.steps_in).local_steps

    @classmethod
    def forward_passes(cls, config: "ExperimentConfig") -> int:
        """Forward passes of a client in a round. A client that backpropagates makes as many backward passes as well."""
        directions = config.zo.directions
        per_step = directions + 1 if config.zo.difference == "forward" else 2 * directions
        return cls.local_steps(config) * (1 if cls.backward else per_step)

    @classmethod
    def pool(cls, config: "ExperimentConfig") -> int:
        """Number of candidate seeds, for commits of kind `pool`."""
        return 0

    @classmethod
    def keeps(cls, config: "ExperimentConfig") -> LocalStep:
        """What a local step of this run keeps besides model and activations."""
        return LocalStep()

    @classmethod
    def refuse(cls, config: "ExperimentConfig") -> None:
        """Raises ValueError: a setting that the method does not know, or cannot follow."""
        if cls.allocates:
            return
        method, zo, memory = config.method, config.zo, config.memory
        if config.federation.fleet is not None:
            raise ValueError(
                f"federation.fleet is set, but method={method} activates every block on every client and cannot keep "
                f"VRAM budgets: drop federation.fleet, or set method={DEFAULT_METHOD}"
            )
        if (memory.frozen, memory.master) != ("device", "device"):
            raise ValueError(
                f"memory.frozen={memory.frozen}, memory.master={memory.master}: method={method} keeps its whole model "
                "on the accelerator; set both to device"
            )
        packed = (memory.frozen_format, memory.stem_format) != ("compute", "compute")
        named = f"memory.frozen_format={memory.frozen_format}, memory.stem_format={memory.stem_format}"
        if packed and not cls.adapters:
            raise ValueError(
                f"{named}: method={method} trains the matrices of every block and keeps its model in the compute "
                "dtype; set both to compute, or take a method that trains adapters, such as method=fedit"
            )
        if packed and memory.frozen_format == "auto":
            raise ValueError(
                f"{named}: method={method} has no budgets by which a format could be chosen; set "
                "memory.frozen_format=compute, int8 or nf4"
            )
        if config.allocation != type(config.allocation)():
            raise ValueError(f"method={method} has no blocks to allocate: drop the section allocation")
        if zo.rank is not None:
            raise ValueError(f"zo.rank={zo.rank}: method={method} is defined with dense directions only")
        if zo.directions_per != "batch":
            raise ValueError(
                f"zo.directions_per={zo.directions_per}: method={method} is defined with one direction per batch; set "
                f"zo.directions_per=batch, or method={DEFAULT_METHOD}"
            )
        if cls.commits not in ("scalars", "mean") and zo.scope == "auto":
            raise ValueError(
                f"zo.scope=auto: method={method} cannot choose a scope by a probe; name a scope, such as zo.scope=all"
            )
        if cls.adapters and config.model.lora is None:
            raise ValueError(f"method={method} trains LoRA adapters: set model.lora, as in model.lora.rank=8")
        if cls.adapters and zo.scope != "lora":
            raise ValueError(f"zo.scope={zo.scope}: method={method} trains only the adapters; set zo.scope=lora")


def settings_of(config: "ExperimentConfig", kind: type[_Settings]) -> _Settings:
    """`config.method_settings`, with the type that the method gave it."""
    assert isinstance(config.method_settings, kind), (config.method, kind)
    return config.method_settings


def method_names() -> tuple[str, ...]:
    """The methods of this package, the default first. This imports none of them."""
    return (DEFAULT_METHOD, *(name for name in modules_of(PACKAGE) if name != DEFAULT_METHOD))


@functools.cache
def load_method(name: str) -> type[MethodSpec]:
    """The class of a method.

    Args:
        name: a method of this package, or the dotted path of a module.

    Raises:
        ValueError: no such method or module, or a module without exactly one method.
    """
    return class_named(name, PACKAGE, method_names(), MethodSpec, "method", "method")


def with_published(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tree` in which settings that are not set have the values published for its method."""
    try:
        published = load_method(tree.get("method", DEFAULT_METHOD)).published
    except (ValueError, TypeError):  # an unknown name; the check of the field `method` reports it
        return tree
    for key, value in published.items():
        section, name = key.split(".")
        settings = tree.get(section)
        if settings is None or (isinstance(settings, dict) and name not in settings):
            tree = {**tree, section: {**(settings or {}), name: value}}
    return tree
