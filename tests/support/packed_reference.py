"""The packed formats once more, in numpy and written to be read. zorba_ray/formats must give the same bytes."""

import numpy as np

from zorba_ray.formats.sizes import LEVELS

F = np.float32


def packed(matrix: np.ndarray, format: str) -> dict[str, np.ndarray]:
    """The parts of the slab of a float32 matrix, by name."""
    return int8(matrix.reshape(-1, matrix.shape[-1])) if format == "int8" else nf4(matrix.reshape(-1))


def unpacked(parts: dict[str, np.ndarray], numel: int) -> np.ndarray:
    """The float32 values of a slab's parts, flat."""
    if "block_scales" not in parts:
        return (parts["codes"].astype(F) * parts["scales"][:, None]).reshape(-1)
    codes = np.stack([parts["codes"] & 15, parts["codes"] >> 4], axis=1).reshape(-1)[:numel]
    scales = parts["block_scales"].astype(F) * np.repeat(parts["scales"], 256)[: parts["block_scales"].size]
    return np.array(LEVELS, dtype=F)[codes] * np.repeat(scales, 64)[:numel]


def int8(rows: np.ndarray) -> dict[str, np.ndarray]:
    largest = np.abs(rows).max(axis=1)
    inverse = reciprocal(largest, 127)
    scales = np.where(inverse > 0, largest / F(127), F(0))
    return {"scales": scales, "codes": np.rint(rows * inverse[:, None]).astype(np.int8)}


def nf4(values: np.ndarray) -> dict[str, np.ndarray]:
    blocks = np.zeros((-(-values.size // 64), 64), dtype=F)
    blocks.reshape(-1)[: values.size] = values
    largest = np.abs(blocks).max(axis=1)
    groups = np.zeros((-(-largest.size // 256), 256), dtype=F)
    groups.reshape(-1)[: largest.size] = largest
    units = groups.max(axis=1) / F(255)
    units[reciprocal(units, 1) == 0] = 0
    unit = np.repeat(units, 256)[: largest.size]
    live = (unit > 0) & (largest > 0)
    scales = np.zeros_like(largest)
    scales[live] = np.maximum(F(1), np.rint(largest[live] / unit[live]))
    codes = codes_of(blocks * reciprocal(scales * unit, 1)[:, None]).reshape(-1)
    codes[values.size :] = 0
    codes = codes[: 2 * -(-values.size // 2)]
    return {"scales": units, "block_scales": scales.astype(np.uint8), "codes": codes[::2] | (codes[1::2] << 4)}


def reciprocal(values: np.ndarray, numerator: int) -> np.ndarray:
    """numerator / values in float32, 0 where that is not finite."""
    with np.errstate(divide="ignore", over="ignore"):
        found = F(numerator) / values
    return np.where(np.isfinite(found), found, F(0))


def codes_of(values: np.ndarray) -> np.ndarray:
    """How many borders between levels each value exceeds, uint8."""
    levels = np.array(LEVELS)
    borders = ((levels[1:] + levels[:-1]) / 2).astype(F)
    return np.searchsorted(borders, values.reshape(-1), side="left").astype(np.uint8).reshape(values.shape)
