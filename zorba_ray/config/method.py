"""What the settings ask of a federated method, and how a method is found by its name.

`method: NAME` is the module zorba_ray.methods.NAME; a name with dots, as in `method: my_lab.my_method`, is that module,
wherever Python finds it. The module holds one class, a `MethodSpec`. Nothing is registered, and a Ray worker finds the
method as the driver did. The import goes by name (importlib) because settings lie below methods and know none of them.
"""

import difflib
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from zorba_ray.config.base import StrictModel
from zorba_ray.config.model import Targets
from zorba_ray.config.zo import FixedScope

if TYPE_CHECKING:
    from zorba_ray.config.experiment import ExperimentConfig

Commits = Literal["scalars", "mean", "pool", "tensors"]
"""How replicas read a method's commits: as `LedgerHeader.commits` says."""
DEFAULT_METHOD = "zorba"
PACKAGE = "zorba_ray.methods"
_Settings = TypeVar("_Settings", bound=StrictModel)


class NoSettings(StrictModel):
    """Of a method that has no settings of its own."""


@dataclass(frozen=True)
class LocalStep:
    """One local step of a client that holds its whole model on the accelerator, as far as its memory depends on it."""

    backward: bool = False
    """By backpropagation; else a forward pair that moves θ in place, z drawn again tensor by tensor, as MeZO does."""
    moments: bool = False
    """Whether AdamW keeps two of every trained parameter, in the compute dtype: the least that it can hold."""
    rank: int = 0
    """r of the LoRA adapters that alone are trained; 0: the model itself is."""
    targets: Targets = "attention"
    """Layers of a block with adapters."""
    seeds: int = 0
    """Candidate seeds, with an fp32 accumulator each."""
    stored: bool = False
    """Whether one flat z is kept from the first perturbation to the update."""
    scope: FixedScope | None = None
    """Tensors of the blocks that alone are trained, as in a run (without adapters); None: all of the model, as
    published."""


class MethodSpec:
    """What a method says of itself before anything runs; `zorba_ray.methods.Method` adds the round. No torch here."""

    commits: ClassVar[Commits] = "scalars"
    allocates: ClassVar[bool] = False
    """Whether the server decides which blocks a client activates, under the budgets of `federation.fleet`. If not,
    every client holds and trains every block."""
    backward: ClassVar[bool] = False
    """Whether clients backpropagate; else they run forward passes alone."""
    adapters: ClassVar[bool] = False
    """Whether LoRA adapters are all that is trained."""
    central: ClassVar[bool] = False
    """Whether one client holds all examples, so that nothing travels."""
    one_rate: ClassVar[bool] = False
    """Whether the learning rate must be the same in all rounds."""
    steps_in: ClassVar[Literal["zo", "method_settings"]] = "zo"
    """The section that holds lr, schedule and local_steps."""
    Settings: ClassVar[type[StrictModel]] = NoSettings
    """The section `method_settings`; its defaults are those that the authors published."""
    published: ClassVar[Mapping[str, Any]] = {}
    """Dotted setting of another section -> the value that the authors published, which stands where nothing else was
    said."""

    profiles: ClassVar[Mapping[str, LocalStep]] = {}
    """Label -> local step as published; rows of `zorba-ray profile`. None of a method that allocates: its rows are the
    places where blocks live."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.allocates and cls.commits != "scalars":
            raise TypeError(
                f"{cls.__name__}: allocates=True with commits={cls.commits}: only the scalars of each client say which "
                "blocks they move; set allocates=False"
            )

    @classmethod
    def local_steps(cls, config: "ExperimentConfig") -> int:
        """K: minibatches that a client takes in a round."""
        return getattr(config, cls.steps_in).local_steps

    @classmethod
    def forward_passes(cls, config: "ExperimentConfig") -> int:
        """Forward passes of a client in a round. One that backpropagates makes as many backward passes beside."""
        directions = config.zo.directions
        each = directions + 1 if config.zo.difference == "forward" else 2 * directions
        return cls.local_steps(config) * (1 if cls.backward else each)

    @classmethod
    def pool(cls, config: "ExperimentConfig") -> int:
        """Candidate seeds of commits of kind `pool`."""
        return 0

    @classmethod
    def keeps(cls, config: "ExperimentConfig") -> LocalStep:
        """What a local step keeps beside model and activations, whatever it trains."""
        return LocalStep()

    @classmethod
    def refuse(cls, config: "ExperimentConfig") -> None:
        """Raises ValueError: a setting that the method knows nothing of, or cannot follow."""
        if cls.allocates:
            return
        method, zo, memory = config.method, config.zo, config.memory
        if config.federation.fleet is not None:
            raise ValueError(
                f"method={method} activates every block at every client, so no VRAM budget can be kept: drop "
                f"federation.fleet, or set method={DEFAULT_METHOD}"
            )
        if (memory.frozen, memory.master) != ("device", "device"):
            raise ValueError(
                f"memory.frozen={memory.frozen}, memory.master={memory.master}: method={method} keeps its whole model "
                "on the accelerator; set both to device"
            )
        if config.allocation != type(config.allocation)():
            raise ValueError(f"method={method} has no blocks to allocate: drop the section allocation")
        if zo.rank is not None:
            raise ValueError(f"zo.rank={zo.rank}: method={method} is defined with dense directions only")
        if cls.commits not in ("scalars", "mean") and zo.clip_spread is not None:
            raise ValueError(
                f"zo.clip_spread={zo.clip_spread:g}: only methods whose commits are the scalars of one round know it, "
                f"not method={method}; drop it"
            )
        if cls.commits not in ("scalars", "mean") and zo.scope == "auto":
            raise ValueError(f"zo.scope=auto: method={method} probes nothing; name a scope, such as zo.scope=all")
        if cls.adapters and config.model.lora is None:
            raise ValueError(f"method={method} trains LoRA adapters: set model.lora, as in model.lora.rank=8")
        if cls.adapters and zo.scope != "lora":
            raise ValueError(f"zo.scope={zo.scope}: method={method} trains the adapters alone; set zo.scope=lora")


def settings_of(config: "ExperimentConfig", kind: type[_Settings]) -> _Settings:
    """`config.method_settings` as the settings of a method that has them."""
    assert isinstance(config.method_settings, kind), (config.method, kind)
    return config.method_settings


def method_names() -> tuple[str, ...]:
    """The methods of this package, the default first. None of them is imported."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    names = sorted(item.name for item in pkgutil.iter_modules(spec.submodule_search_locations) if not item.ispkg)
    return (DEFAULT_METHOD, *(name for name in names if name != DEFAULT_METHOD))


@functools.cache
def load_method(name: str) -> type[MethodSpec]:
    """The class of a method.

    Args:
        name: of a method of this package, or the dotted path of a module.

    Raises:
        ValueError: no such method or module, or not one method in it.
    """
    if "." not in name and name not in method_names():
        near = difflib.get_close_matches(name, method_names(), n=1)
        raise ValueError(
            f"there is no such method; there are {', '.join(method_names())}, and a method of your own is named by its "
            "module, as in method=my_lab.my_method" + (f"; did you mean {near[0]}?" if near else "")
        )
    path = name if "." in name else f"{PACKAGE}.{name}"
    try:
        module = importlib.import_module(path)
    except Exception as error:  # whatever a module of others raises
        raise ValueError(
            f"the module {path} cannot be imported ({type(error).__name__}: {error}): install it, or put its folder on "
            "PYTHONPATH, where workers run too"
        ) from error
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, MethodSpec) and kind.__module__ == path
    ]
    if len(kinds) != 1:
        raise ValueError(f"the module {path} defines {len(kinds)} classes of a method, and must define one")
    return kinds[0]


def with_published(tree: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the published settings of its method where it says nothing; the argument is left as it is."""
    try:
        published = load_method(tree.get("method", DEFAULT_METHOD)).published
    except (ValueError, TypeError):  # a name that is none: the field says so
        return tree
    for key, value in published.items():
        section, name = key.split(".")
        given = tree.get(section)
        if given is None or (isinstance(given, dict) and name not in given):
            tree = {**tree, section: {**(given or {}), name: value}}
    return tree
