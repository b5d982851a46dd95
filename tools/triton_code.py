"""What Triton makes of our kernels, without a GPU: registers, spills, and how wide they load and store.

    python -m tools.triton_code

prints a table. Triton compiles ahead of time: its wheel has NVIDIA's assembler. Here the launchers themselves run, on
CPU tensors, and a stand-in for CUDA's driver takes what they launch. So the machine code is that of real launches, with
all that Triton knows of their arguments. Nothing is computed.
"""

import functools
import itertools
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from triton import knobs  # pyright: ignore[reportMissingImports]  (Linux only)
from triton.backends.compiler import GPUTarget  # pyright: ignore[reportMissingImports]
from triton.runtime.driver import driver  # pyright: ignore[reportMissingImports]

from zorba_ray.directions import Distribution, Terms, tensor_stream
from zorba_ray.directions.triton_cuda import TritonDirections
from zorba_ray.formats import slab
from zorba_ray.formats.on_device import launch_nf4

TARGETS = (80, 90, 100)
"""Compute capabilities: A100, H100 and H200, B200."""
DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")
EVEN, ODD = (1 << 20, 0), (9001, 37)
"""(elements, offset) of a tensor in which vectors fit, and of one in which they do not."""
_DEVICES = itertools.count(1000)  # Triton keeps compiled kernels by the device's number, and no real one has these


@dataclass(frozen=True)
class Code:
    """Machine code of one kernel for one target."""

    kernel: str
    flags: tuple[str, ...]
    """Compile-time arguments that are true."""
    target: int
    registers: int
    """Per thread."""
    local: int
    """Bytes of local memory per thread: spilled registers and arrays that do not fit registers."""
    loads: Counter[int]
    """Bits that a thread loads from global memory in one instruction -> instructions."""
    stores: Counter[int]
    barriers: int
    rounds: bool
    """Every operation rounds: no fused multiply-add, no subnormal number flushed to zero."""


def directions(distribution: Distribution, size: int, offset: int) -> None:
    """Every kernel of directions in every form: fp32 and bf16 scratch, commits in one launch and in several."""
    backend, theta = TritonDirections(), torch.zeros(size)
    for dtype in (torch.float32, torch.bfloat16):
        stream = tensor_stream(1, 2, 3, 0, distribution)
        backend.perturb_into(torch.empty(size, dtype=dtype), theta, stream, 1e-3, offset)
    for seeds, commits in ((8, 1), (300, 5)):
        numbers = np.arange(seeds, dtype=np.uint64)
        terms = Terms(numbers, numbers, numbers.astype(np.float32), distribution)
        backend.apply_commits(theta, 2, 3, [terms] * commits, offset)


class _Driver:
    """Stands for CUDA's driver: says which GPU is there, and keeps what is launched."""

    def __init__(self, target: int) -> None:
        self.launched: dict[Any, None] = {}
        """Compiled kernels, each once, in order."""
        self._target = target
        self._device = next(_DEVICES)
        self.utils = self

    def get_current_device(self) -> int:
        return self._device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return GPUTarget("cuda", self._target, 32)

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 64 << 10}

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> tuple[Any, ...]:
        """(module, function, registers, spills, most threads) of a kernel that is to run on the device."""
        return None, None, 0, 0, 1024

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        """What launches a kernel."""
        kernels = source.fn.device_caches[self._device][0].values()
        kernel = next(each for each in kernels if each.src is source)
        return lambda *arguments: self.launched.setdefault(kernel)


def compiled(target: int, launch: Callable[[], None]) -> list[Code]:
    """The code of all that `launch` launches, each kernel once, in order."""
    stand_in = _Driver(target)
    driver.set_active(stand_in)  # pyright: ignore[reportArgumentType]
    try:
        launch()
    finally:
        driver._active = None  # as before its first use: `reset_active` fails where there is no GPU
    return [_read(kernel, target) for kernel in stand_in.launched]


def _read(kernel: Any, target: int) -> Code:
    """Loads and stores as Triton wrote them in PTX, registers as NVIDIA's assembler gave them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    usage = {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", text)}
    names, ptx = kernel.src.fn.arg_names, kernel.asm["ptx"]
    return Code(
        kernel.src.fn.__name__,
        tuple(names[at] for (at, *_), value in sorted(kernel.src.constants.items()) if value is True),
        target,
        usage["REG"],
        usage["STACK"] + usage["LOCAL"],
        _widths(ptx, "ld"),
        _widths(ptx, "st"),
        len(re.findall(r"\bbar(?:rier)?\.", ptx)),
        not (kernel.metadata.enable_fp_fusion or re.search(r"\bfma\.|\.ftz\b", ptx)),
    )


def _widths(ptx: str, operation: str) -> Counter[int]:
    """Bits that an instruction moves -> instructions."""
    found = re.findall(rf"\b{operation}\.global(?:\.\w+)*?(?:\.v(\d))?\.[bfsu](\d+)\b", ptx)
    return Counter(int(lanes or 1) * int(bits) for lanes, bits in found)


def nf4(dtype: torch.dtype, rows: int, columns: int) -> None:
    """Unpacking of a matrix."""
    parts = slab("nf4", (rows, columns))
    packed = torch.zeros(parts.nbytes, dtype=torch.uint8)
    scales = packed[parts.scales].view(torch.float32)
    target = torch.empty(rows * columns, dtype=dtype)
    launch_nf4(target, scales, packed[parts.block_scales], packed[parts.codes])


LAUNCHES: dict[str, Callable[[], None]] = {
    f"directions, {distribution}, {shape}": functools.partial(directions, distribution, *tensor)
    for distribution in DISTRIBUTIONS
    for shape, tensor in {"even": EVEN, "odd": ODD}.items()
} | {
    f"nf4, {name}, {shape}": functools.partial(nf4, dtype, *matrix)
    for name, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items()
    for shape, matrix in {"even": (576, 1536), "odd": (129, 257)}.items()
}
"""What launches our kernels in all their forms."""


def main() -> None:
    """Prints the table."""
    print("| launched for | kernel | target | registers | local | loads | stores | barriers |\n" + "| --- " * 8 + "|")
    for (name, launch), target in itertools.product(LAUNCHES.items(), TARGETS):
        for code in compiled(target, launch):
            kernel = " ".join((code.kernel, *code.flags)).lower()
            loads, stores = (
                " ".join(f"{count}×{bits}" for bits, count in sorted(widths.items()))
                for widths in (code.loads, code.stores)
            )
            cells = (name, kernel, f"sm_{target}", code.registers, code.local, loads, stores, code.barriers)
            print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
