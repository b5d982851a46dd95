"""Reads the header of a `.gguf` file: settings, and the shapes and kinds of its tensors. It reads no tensor.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is compared with the size of the
file before it is used, so that a damaged or hostile file is refused in milliseconds.
"""

import math
import mmap
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zorba_ray.errors import ModelError
from zorba_ray.models.folder import Stored
from zorba_ray.printable import printable, shown

TENSOR_KINDS = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}  # fmt: skip
"""Number of a kind of tensor -> (name, numbers in a block, bytes of a block). Other kinds are refused."""
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_MOST_ENTRIES = 1_500_000
"""Most entries of all lists together; a vocabulary of 262,144 has 790,000."""
_MOST_AXES = 4


@dataclass(frozen=True)
class GgufHeader:
    """Settings and tensors of a file."""

    settings: dict[str, Any]
    """Name -> number or text; for a list, its length."""
    tensors: dict[str, Stored]
    """Shapes in torch's order of axes; kinds such as `Q4_1`."""

    @property
    def elements(self) -> int:
        """How many numbers all tensors have together."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def kinds(self) -> str:
        """The kinds of tensors, the one with the most numbers first, such as `Q4_1, Q8_0, F32`."""
        sizes: Counter[str] = Counter()
        for tensor in self.tensors.values():
            sizes[tensor.kind] += math.prod(tensor.shape)
        return ", ".join(kind for kind, _ in sizes.most_common())


def read_gguf_header(file: Path, label: str) -> GgufHeader:
    """The header of `file`; `label` is `model.path`, for messages.

    Raises:
        ModelError: another format or version, a length beyond the end of the file, an unsupported kind of tensor, or a
            file that ends before the last tensor in its header.
    """
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).header()
    except _Refused as error:
        raise ModelError(f"model.path={label}: {error}") from None
    except (struct.error, UnicodeDecodeError, OSError, ValueError) as error:  # an empty file cannot be mapped
        why = error.strerror if isinstance(error, OSError) else "it ends too early, or is damaged"
        raise ModelError(f"model.path={label}: not a complete .gguf file ({why}); download it again") from error


class _Refused(Exception):
    pass


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at, self._entries = data, 0, 0

    def header(self) -> GgufHeader:
        if self._data[:4] != b"GGUF":
            raise _Refused("the file does not begin like a .gguf file (is it a git-lfs pointer?); download it again")
        self._at = 4
        version, tensors, count = self._number("I"), self._number("Q"), self._number("Q")
        if version not in _VERSIONS:
            raise _Refused(
                f"version {version} of the format is not supported, only 2 and 3 in little-endian; convert the file"
            )
        settings: dict[str, Any] = {}
        for _ in range(count):
            name = self._text()
            self._require_new(name, settings)
            settings[name] = self._value(self._number("I"))
        infos = dict(self._infos(tensors))
        align = settings.get("general.alignment", 32)
        if not isinstance(align, int) or align < 1 or align & (align - 1):
            raise _Refused(f"general.alignment={shown(align)} is not a power of two; download the file again")
        self._require_held(infos, len(self._data) - -(-self._at // align) * align)
        return GgufHeader(settings, {name: tensor for name, (tensor, _, _) in infos.items()})

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value

    def _text(self) -> str:
        length = self._number("Q")
        if length > len(self._data) - self._at:
            raise ValueError("a text beyond the end")
        self._at += length
        return self._data[self._at - length : self._at].decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind in _FORMS:
            return self._number(_FORMS[kind])
        if kind != _ARRAY:
            raise ValueError("no kind of value")
        inner, count = self._number("I"), self._number("Q")
        self._entries += count
        if self._entries > _MOST_ENTRIES:
            raise _Refused(
                f"its lists have more than {_MOST_ENTRIES:,} entries, more than any vocabulary; download the file again"
            )
        for _ in range(count):
            if inner == _TEXT:
                self._text()
            else:
                self._number(_FORMS.get(inner, ""))  # a list of lists ends in ValueError
        return count

    def _infos(self, count: int) -> Iterator[tuple[str, tuple[Stored, int, int]]]:
        """(name, (tensor, offset of its first byte in the data, number of its bytes))."""
        names: set[str] = set()
        for _ in range(count):
            name, axes = self._text(), self._number("I")
            self._require_new(name, names)
            names.add(name)
            if not 1 <= axes <= _MOST_AXES:
                raise ValueError("no shape")
            shape = tuple(reversed([self._number("Q") for _ in range(axes)]))
            kind, start = self._number("I"), self._number("Q")
            if kind not in TENSOR_KINDS:
                supported = ", ".join(name for name, _, _ in TENSOR_KINDS.values())
                raise _Refused(
                    f"tensor {_short(name)} is of kind {kind} (ggml_type), which is not supported; use a file with "
                    f"tensors of the kinds {supported}"
                )
            label, block, size = TENSOR_KINDS[kind]
            if shape[-1] % block or min(shape) < 1:
                raise ValueError("no whole blocks")
            yield name, (Stored(shape, label), start, math.prod(shape) // block * size)

    def _require_held(self, infos: dict[str, tuple[Stored, int, int]], data_bytes: int) -> None:
        total = 0
        for name, (_, start, size) in infos.items():
            total += size
            if start + size > data_bytes or total > data_bytes:
                raise _Refused(f"the file ends before the end of its tensor {_short(name)}; download it again")

    def _require_new(self, name: str, names: Any) -> None:
        if name in names:
            raise _Refused(f"the file has {_short(name)} twice; download it again")


def _short(name: str) -> str:
    return printable(name)[:80]
