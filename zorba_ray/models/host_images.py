"""The blocks in host memory, each as one run of bytes in the form in which it goes to the accelerator."""

import functools
from collections.abc import Iterator

import torch

from zorba_ray.errors import Diverged
from zorba_ray.formats import Format, pack_into
from zorba_ray.models.block_layout import BlockLayout
from zorba_ray.models.copy_stream import CopyStream
from zorba_ray.models.replica import Replica


class HostImages:
    """Images of blocks, made from their masters when they are asked for, and made anew after the block was updated."""

    def __init__(self, replica: Replica, dtype: torch.dtype, pinned: bool, copies: CopyStream) -> None:
        """
        Args:
            dtype: compute dtype of matrices.
            pinned: whether images are page-locked, so that a GPU can copy them without the CPU.
            copies: copies of images that may be under way.
        """
        self._replica, self._dtype, self._pinned, self._copies = replica, dtype, pinned, copies
        self._blocks = [replica.manifest.by_block[block] for block in range(replica.manifest.blocks)]
        self.layouts = functools.cache(lambda format: [BlockLayout(entries, dtype, format) for entries in self._blocks])
        """Format of frozen matrices -> layout of each block."""
        self._images: dict[tuple[int, Format], tuple[int, torch.Tensor]] = {}
        """(block, format) -> position and bytes."""

    def pieces(self) -> Iterator[torch.Tensor]:
        """All memory that was allocated here."""
        for _, image in self._images.values():
            yield image

    def sync(self, block: int) -> int:
        """Applies the commits that a block's masters lack. Returns its position."""
        if self._replica.lacks(block):
            self._copies.drain()
        return self._replica.sync(block)

    def of(self, block: int, format: Format) -> tuple[int, torch.Tensor]:
        """(position, bytes) of a block, in the compute dtype or with packed matrices.

        Raises:
            Diverged: a matrix has a value that cannot be packed: it is not finite, or nearly as large as fp32 allows.
        """
        position = self.sync(block)
        entries, layout = self._blocks[block], self.layouts(format)[block]
        if self._dtype == torch.float32 and format == "compute":
            start = entries[0].offset
            return position, self._replica.theta[start : start + layout.nbytes // 4].view(torch.uint8)
        image_position, image = self._images.get((block, format), (-1, None))
        if image is None:
            image = torch.zeros(layout.nbytes, dtype=torch.uint8, device="cpu", pin_memory=self._pinned)
        if image_position != position:
            self._copies.drain()
            for entry in entries:
                tensor, theta = layout.view(image, entry.name), self._replica.parameters[entry.name]
                if format != "compute" and entry.name in layout.packed:
                    try:
                        pack_into(tensor, theta, entry.shape, format)
                    except ValueError as error:
                        raise Diverged(
                            f"{entry.name} cannot be packed in {format}: its values are not finite, or above 2^127. "
                            "The steps were too large: lower zo.lr or set zo.clip"
                        ) from error
                else:
                    tensor.copy_(theta)
            self._images[block, format] = (position, image)
        return position, image
