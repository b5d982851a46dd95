"""What a comparison is asked for: methods, seeds, budget, learning rates; checked before anything runs."""

import difflib
import math
from collections.abc import Sequence

from pydantic import Field

from zorba_ray.config import ExperimentConfig
from zorba_ray.config.base import StrictModel, parse_override
from zorba_ray.errors import ConfigError
from zorba_ray.methods import METHODS

TUNING_SEED = 0
"""Learning rates are chosen on it; the compared seeds are 1 … n."""


class ContestSettings(StrictModel):
    """One comparison; its configuration is beside it."""

    methods: tuple[str, ...]
    """In the order of the table; differences are taken to the first."""
    seeds: int = Field(ge=1)
    """n: seeds 1 … n, the same for every method."""
    budget: int | None = Field(default=None, ge=1)
    """Forward passes of a client; None: as many as the configuration's own run makes."""
    tuning: bool = True
    """Learning rates are chosen; else the configured ones are taken."""
    rates: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Method -> the rates that are tried; others have a ladder around their default."""
    tuning_share: float = Field(default=0.25, gt=0, le=1)
    """Share of its rounds that a tuning run makes."""
    targets: tuple[float, ...] = ()
    """Validation losses to reach; none: three between the start and zorba's median final loss."""
    overrides: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Method -> key=value, beyond what its authors published."""

    @property
    def tries(self) -> int:
        """Learning rates per method, the same for all."""
        return max((len(rates) for rates in self.rates.values()), default=3)


def make_settings(
    methods: str,
    seeds: int,
    overrides: Sequence[str] = (),
    rates: Sequence[str] = (),
    budget: int | None = None,
    tuning: bool = True,
    tuning_share: float = 0.25,
    targets: str = "",
) -> ContestSettings:
    """Settings from what was typed: 'zorba,decomfl', 'decomfl:zo.scope=all', 'decomfl=1e-4,3e-4', '0.9,0.8'.

    Raises:
        ConfigError: an unknown method, or one twice; a number out of range; a rate for a method that does not compete,
            or more tries for one method than for another.
    """
    names = tuple(name.strip() for name in methods.split(","))
    for name in names:
        _require_known(name, "--methods")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--methods {methods}: {twice} stands twice; name every method once")
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: a comparison needs at least one seed, and two for an interval")
    if budget is not None and budget < 1:
        raise ConfigError(f"--budget {budget}: give a number of forward passes ≥ 1")
    if not 0 < tuning_share <= 1:
        raise ConfigError(f"--tuning-share {tuning_share}: a share of the rounds in (0, 1]")
    own: dict[str, tuple[str, ...]] = {}
    for text in overrides:
        method, _, setting = text.partition(":")
        _require_competing(method, names, text)
        parse_override(setting)
        own[method] = (*own.get(method, ()), setting)
    ladders = dict(_ladder(text, names) for text in rates)
    if len(ladders) < len(rates):
        raise ConfigError(f"--rates: a method stands twice in {' '.join(rates)}")
    counts = {method: len(found) for method, found in ladders.items()}
    if tuning and len(set(counts.values())) > 1:
        raise ConfigError(f"--rates: every method gets as many tries as the others, not {counts}")
    if not tuning and any(count > 1 for count in counts.values()):
        raise ConfigError("--no-tuning with several --rates of a method: give one rate, or let them be tried")
    return ContestSettings(
        methods=names,
        seeds=seeds,
        budget=budget,
        tuning=tuning,
        rates=ladders,
        tuning_share=tuning_share,
        targets=tuple(_numbers(targets, "--targets")) if targets else (),
        overrides=own,
    )


def split_overrides(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """(of the configuration, of single methods): 'zo.lr=1' and 'decomfl:zo.lr=1'."""
    single = [text for text in texts if ":" in text.partition("=")[0]]
    return [text for text in texts if text not in single], single


def require_zorbas(base: ExperimentConfig) -> None:
    """Whether a comparison can start from `base`.

    Raises:
        ConfigError: it is another method's, or its fleet changes during the run.
    """
    if base.method != "zorba":
        raise ConfigError(
            f"method={base.method}: a comparison starts from zorba's configuration, which has the fleet and the "
            "budget of forward passes; drop method, and name the others with --methods"
        )
    if base.federation.changes:
        raise ConfigError(
            "federation.changes names rounds, and every method has its own number of rounds: drop it for a comparison"
        )


def _require_known(name: str, option: str) -> None:
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{option}: unknown method {name!r}{hint} (methods: {', '.join(METHODS)})")


def _require_competing(method: str, names: Sequence[str], text: str) -> None:
    _require_known(method, text)
    if method not in names:
        raise ConfigError(f"{text}: {method} is not among --methods {','.join(names)}")


def _ladder(text: str, names: Sequence[str]) -> tuple[str, tuple[float, ...]]:
    method, sign, listed = text.partition("=")
    if not sign:
        raise ConfigError(f"--rates {text}: write METHOD=RATE,RATE, as in decomfl=1e-4,3e-4,1e-3")
    _require_competing(method, names, f"--rates {text}")
    rates = tuple(sorted(_numbers(listed, f"--rates {text}")))
    if min(rates) <= 0 or len({f"{rate:g}" for rate in rates}) < len(rates):
        raise ConfigError(f"--rates {text}: learning rates are positive, and each stands once")
    return method, rates


def _numbers(text: str, option: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option}: numbers with commas between them, not {text!r}") from error
    if not all(math.isfinite(number) for number in found):
        raise ConfigError(f"{option}: numbers must be finite, not {text!r}")
    return found
