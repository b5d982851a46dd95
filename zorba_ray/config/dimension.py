"""How one setting varies in a sweep."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from zorba_ray.config.base import StrictModel

_FORMS = ("grid", "choice", "uniform", "loguniform")


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text: text that is a number counts as one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Bound = Annotated[float, BeforeValidator(_number)]
Bounds = Annotated[tuple[Bound, ...], Field(min_length=2, max_length=3)]
Values = tuple[Any, ...] | dict[str, Any]


class Dimension(StrictModel):
    """How one setting varies: exactly one of the four forms, and optionally when."""

    grid: Values | None = None
    """Every value, crossed with the other grids: a list, or a mapping label -> value for values that are long."""
    choice: Values | None = None
    """One of these at random; a list or a mapping label -> value."""
    uniform: Bounds | None = None
    """[low, high], or [low, high, q]: rounded to a multiple of q; q = 1 gives whole numbers."""
    loguniform: Bounds | None = None
    """The same, uniform in the logarithm."""
    when: dict[str, Any] | None = None
    """Only where these settings have these values (or one of a list of values); else the run's own value stands."""

    @model_validator(mode="after")
    def _one_form(self) -> "Dimension":
        given = [name for name in _FORMS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(_FORMS)}, got {', '.join(given) or 'none'}")
        bounds = getattr(self, given[0])
        if given[0] in ("grid", "choice"):
            if not bounds:
                raise ValueError(f"{given[0]} has no values: an empty space")
        else:
            low, high, *q = bounds
            if not low < high:
                raise ValueError(f"{given[0]}: low ({low:g}) must be below high ({high:g})")
            if given[0] == "loguniform" and low <= 0:
                raise ValueError(f"{given[0]}: low ({low:g}) must be above 0")
            if q and not (0 < q[0] <= high - low and math.isfinite(max(-low, high) / q[0])):
                raise ValueError(f"{given[0]}: q ({q[0]:g}) must be above 0 and at most high − low ({high - low:g})")
        return self

    @property
    def form(self) -> str:
        """The name of the form that is given."""
        return next(name for name in _FORMS if getattr(self, name) is not None)

    @property
    def bounds(self) -> Bounds:
        """(low, high) or (low, high, q) of a uniform or loguniform."""
        return getattr(self, self.form)

    @property
    def options(self) -> list[tuple[str | None, Any]]:
        """(label, value) of a grid or choice; label None where the value shows itself."""
        values = getattr(self, self.form)
        return list(values.items()) if isinstance(values, dict) else [(None, value) for value in values]
