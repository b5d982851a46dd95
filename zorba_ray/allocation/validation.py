"""Checks of numbers and arrays that name the field, the value and the rule."""

from typing import Any

import numpy as np

from zorba_ray.errors import ConfigError


def number_array(name: str, value: Any, shape: tuple[int | None, ...], dtype: type) -> np.ndarray:
    """A read-only copy of `value` at `dtype`, after its shape, its finiteness and its whole numbers were checked.

    A broadcast of one row stays one: a million clients with the same bytes take the memory of one of them.
    """
    is_one_row = isinstance(value, np.ndarray) and value.ndim == 2 and value.strides[0] == 0
    if is_one_row and value.shape[0] == shape[0] != 1:
        return np.broadcast_to(number_array(name, value[:1], (1, *shape[1:]), dtype), value.shape)
    try:
        given = np.asarray(value)
        # Integers must not pass through float64: bytes above 2**53 would change.
        whole = given.dtype.kind in "iu"
        array = given if whole and dtype is np.int64 else given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"allocation: {name} = {value!r} is not an array of numbers") from error
    wanted = tuple(array.shape[axis] if want is None and axis < array.ndim else want for axis, want in enumerate(shape))
    if array.shape != wanted:
        expected = tuple("any" if want is None else want for want in shape)
        raise ConfigError(f"allocation: {name} has shape {array.shape}; it must have shape {expected}")
    if not np.isfinite(array).all():
        raise ConfigError(f"allocation: {name}{_first(~np.isfinite(array))} is not finite; every entry must be")
    if dtype is np.int64 and not whole and (array != np.floor(array)).any():
        raise ConfigError(f"allocation: {name}{_first(array != np.floor(array))} is not a whole number")
    fixed = array.astype(dtype, copy=True)
    fixed.setflags(write=False)
    return fixed


def bool_array(name: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    """A read-only copy of `value` as [N, L] bool; the numbers 0 and 1 are taken too. Raises ConfigError otherwise."""
    given = np.asarray(value)
    if given.shape != shape:
        raise ConfigError(f"allocation: {name} has shape {given.shape}; it must have shape {shape}")
    if given.dtype.kind != "b" and (given.dtype.kind not in "iuf" or not np.isin(given, (0, 1)).all()):
        raise ConfigError(f"allocation: {name} must hold truth values, not {given.dtype}")
    fixed = given.astype(bool, copy=True)
    fixed.setflags(write=False)
    return fixed


def _first(where: np.ndarray) -> str:
    """The first True position as "[i]" or "[i, j]"."""
    return str([int(index) for index in np.argwhere(where)[0]])


def require_least(name: str, array: np.ndarray, low: int, strict: bool) -> None:
    bad = array <= low if strict else array < low
    if bad.any():
        rule = f"> {low}" if strict else f">= {low}"
        raise ConfigError(f"allocation: {name}{_first(bad)} = {array[bad][0]!s} must be {rule}")


def require_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not np.isfinite(value) or not low <= value <= high:
        raise ConfigError(f"allocation: {name} = {value!r} must be a finite number in [{low:g}, {high:g}]")


def is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
