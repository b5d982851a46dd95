"""Cipher, seeds, table, bfloat16 rounding and sampling against known answers (tests/golden/directions.json)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.philox import philox4x64
from zorba_ray.directions import (
    EMBEDDINGS,
    FINAL_NORM,
    HEAD,
    VERSION,
    direction_seed,
    permutation,
    tensor_stream,
    uniforms,
)
from zorba_ray.directions.reference import round_to_bf16
from zorba_ray.directions.streams import KEY1, gaussian_table, words

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "directions.json").read_text("utf-8"))

PINNED_PERMUTATION = [9, 7, 11, 2, 10, 4, 5, 6, 1, 0, 8, 3]


def four(texts: list[str]) -> tuple[int, int, int, int]:
    a, b, c, d = (int(text, 16) for text in texts)
    return a, b, c, d


def two(texts: list[str]) -> tuple[int, int]:
    a, b = (int(text, 16) for text in texts)
    return a, b


@pytest.mark.parametrize("case", GOLDEN["philox4x64_10"], ids=["zeros", "ones", "pi"])
def test_philox_known_answers(case: dict[str, list[str]]) -> None:
    counter, key, wanted = four(case["counter"]), two(case["key"]), four(case["words"])
    assert philox4x64(counter, key) == wanted
    assert tuple(words(key, counter, 1).tolist()) == wanted


def test_words_are_consecutive_counters() -> None:
    """numpy's generator counts up before it draws, and carries into c1 as a 256-bit number does."""
    key = (0x0123456789ABCDEF, KEY1)
    start = (2**64 - 2, 7, 5, 1)
    wanted = [w for c in ((2**64 - 2, 7, 5, 1), (2**64 - 1, 7, 5, 1), (0, 8, 5, 1)) for w in philox4x64(c, key)]
    assert words(key, start, 3).tolist() == wanted


@pytest.mark.parametrize("case", GOLDEN["seeds"], ids=["step0", "step1"])
def test_seed_known_answers(case: dict[str, Any]) -> None:
    found = direction_seed(int(case["master"], 16), case["round"], case["stream"], case["step"])
    assert f"{found:016x}" == case["seed"]


def test_seeds_differ_in_every_argument() -> None:
    base = (0x0123456789ABCDEF, 7, 3, 1)
    seeds = {direction_seed(*base)}
    for place in range(4):
        seeds.add(direction_seed(*(value + (place == at) for at, value in enumerate(base))))
    assert len(seeds) == 5


@pytest.mark.parametrize("case", GOLDEN["tensors"], ids=lambda case: f"{case['distribution']}-{case['block']}")
def test_tensor_words_known_answers(case: dict[str, Any]) -> None:
    stream = tensor_stream(int(case["seed"], 16), case["block"], case["slot"], case["direction"], case["distribution"])
    groups = -(-len(case["words"]) // 4)
    drawn = words((stream.k0, KEY1), (0, stream.c1, stream.c2, 0), groups)[: len(case["words"])]
    assert [f"{word:016x}" for word in drawn] == case["words"]


def test_counter_layout() -> None:
    """c1 = block · 2³² + slot, c2 = purpose · 2³² + direction; purpose 0 rademacher, 1 gaussian."""
    assert tensor_stream(5, 11, 2, 7, "gaussian") == (5, 11 << 32 | 2, 1 << 32 | 7, "gaussian")
    assert tensor_stream(5, HEAD, 0, 7, "rademacher") == (5, 0xFFFF0002 << 32, 7, "rademacher")
    assert (EMBEDDINGS, FINAL_NORM, HEAD) == (0xFFFF0000, 0xFFFF0001, 0xFFFF0002)
    assert VERSION == "zdir v1"
    assert KEY1.to_bytes(8, "big") == b"ZorBA_v1"


def test_gaussian_table() -> None:
    """Digest of the definition, antisymmetric, variance 1, kurtosis 2.9915, largest 3.67."""
    table = gaussian_table()
    assert hashlib.sha256(table.astype("<f4").tobytes()).hexdigest() == GOLDEN["gaussian_table_sha256"]
    assert np.array_equal(table, -table[::-1])
    wide = table.astype(np.float64)
    assert np.mean(wide**2) == pytest.approx(1.0, abs=1e-7)
    assert np.mean(wide**4) == pytest.approx(2.9915, abs=5e-5)
    assert float(table[-1]) == pytest.approx(3.67, abs=5e-3)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0


def test_bf16_rounding_is_torchs() -> None:
    """Every upper half with the lower halves around a tie, finite values only, then random bits."""
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=np.uint32)[None, :]
    bits = np.concatenate([(upper | lower).ravel(), np.random.default_rng(0).integers(0, 2**32, 10**5, np.uint32)])
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    wanted = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(round_to_bf16(values), wanted)


def test_permutation_pinned() -> None:
    """Sampling decides partitions, participants and batches of runs on record: it may never change."""
    assert permutation(0x0123456789ABCDEF, "batches", 3, 1, 12).tolist() == PINNED_PERMUTATION
    assert permutation(1, "participants", 0, 0, 0).tolist() == []
    assert permutation(1, "participants", 0, 0, 1).tolist() == [0]


def test_uniforms_are_the_top_52_bits() -> None:
    """Word (purpose 19, a, b) of the sampling key, ⌊w / 2¹²⌋ + ½ over 2⁵²."""
    key = (7, 0x5A425F53414D504C)
    drawn = philox4x64((0, 4, 19 << 32, 9), key)
    assert uniforms(7, "budgets", 4, 9, 4).tolist() == [((w >> 12) + 0.5) * 2.0**-52 for w in drawn]
