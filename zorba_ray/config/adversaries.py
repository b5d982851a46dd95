"""Settings of clients that attack the federation, and how an attack is found by its name.

`kind: NAME` is the module zorba_ray.adversaries.NAME. A name with dots, as in `kind: my_lab.my_attack`, is that module.
"""

import functools
import importlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from zorba_ray.config.base import StrictModel
from zorba_ray.config.modules import class_named, modules_of
from zorba_ray.printable import listed

if TYPE_CHECKING:
    from zorba_ray.config.experiment import ExperimentConfig

PACKAGE = "zorba_ray.adversaries"


class AdversaryConfig(StrictModel):
    """Clients that attack in the same way."""

    clients: tuple[int, ...] = Field(min_length=1)
    """Their ids, from 0."""
    kind: str = Field(max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    """The attack: a name of `zorba_ray.adversaries`, or the dotted path of a module that holds one."""
    scale: float = Field(default=1.0, gt=0)
    """How strong it is; what it multiplies stands in the attack's file."""

    @field_validator("kind")
    @classmethod
    def _there_is_such_an_attack(cls, name: str) -> str:
        load_attack(name)
        return name

    @property
    def text(self) -> str:
        """As 'clients 3, 5: sign_flip, scale 100'."""
        ids = listed(list(self.clients))
        return f"client{'s' if len(self.clients) > 1 else ''} {ids}: {self.kind}, scale {self.scale:g}"


def attack_names() -> tuple[str, ...]:
    """The attacks of this package. This imports none of them."""
    return modules_of(PACKAGE)


@functools.cache
def load_attack(name: str) -> Any:
    """The class of an attack, a subclass of `zorba_ray.adversaries.Attack`.

    Raises:
        ValueError: no such attack or module, or a module without exactly one attack.
    """
    base = importlib.import_module(PACKAGE).Attack  # this package may not import that one
    return class_named(name, PACKAGE, attack_names(), base, "attack", "kind")


def refuse_adversaries(adversaries: Sequence[AdversaryConfig], config: "ExperimentConfig") -> None:
    """Raises ValueError: a client that there is not, or that attacks twice, or an attack on what the run has not."""
    clients = config.federation.clients
    for number, adversary in enumerate(adversaries):
        strange = [client for client in adversary.clients if not 0 <= client < clients]
        if strange:
            raise ValueError(
                f"adversaries[{number}].clients names client {strange[0]}; clients are 0 … {clients - 1} "
                f"(federation.clients={clients})"
            )
        load_attack(adversary.kind).refuse(config)
    counts = Counter(client for adversary in adversaries for client in adversary.clients)
    twice = [client for client, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"adversaries name client {twice[0]} more than once; give each client one attack")
