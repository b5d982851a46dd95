"""Kernels compiled by numba and cached on disk. Where the cache cannot be written, they are compiled at every start.

numba's own `cache=True` stops the program in that case: at import if there is no folder to write to, at the first call
if the disk is full.
"""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

logger = logging.getLogger(__name__)


class _OptionalCache(FunctionCache):
    """A disk cache that gives up instead of raising."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            self._give_up(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.info("compiled kernels are not kept on disk: %s", error)
        self.disable()


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with a cache on disk; a cache that fails is only logged."""

    def compile(function: Callable[..., Any]) -> Any:
        kernel: Any = njit(**options)(function)
        try:
            kernel._cache = _OptionalCache(function)  # as Dispatcher.enable_caching, which takes no other class
        except RuntimeError as error:  # no folder will do
            logger.info("compiled kernels are not kept on disk: %s", error)
        return kernel

    return compile
