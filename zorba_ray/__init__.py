"""Zeroth-order federated fine-tuning of language models with heterogeneous block activation, on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zorba_ray.api import allocate, evaluate, load_config, predict, replay, run
    from zorba_ray.artifacts import Run

__all__ = ["Run", "allocate", "evaluate", "load_config", "predict", "replay", "run"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Imports a name of __all__ when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zorba_ray import api, artifacts

    return getattr(artifacts if name == "Run" else api, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
