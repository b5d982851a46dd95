"""Which tokens of a batch a model computes, and what its network is given for them."""

from dataclasses import dataclass, replace

import torch

from zorba_ray.models.batch import Batch
from zorba_ray.models.heads import Head, model_inputs
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.packing import Packing

WORTH = 1 / 16
"""Share of padding in a batch from which on leaving it out is quicker than the copies that this takes."""


@dataclass(frozen=True)
class RowLayout:
    """What the batches of a run leave out, beside tokens that all of their rows share (`Batch.shared`)."""

    unpadded: bool = False
    """Padding."""
    reads: bool = False
    """In the last block, tokens that the head does not read."""

    def of(self, batch: Batch, head: Head) -> Batch:
        """The batch with its packing, where that leaves something out."""
        rows, length = batch.ids_BT.shape
        lengths, further = [length] * rows, rows * (length - batch.shared)
        if self.unpadded:
            real = batch.mask_BT.sum(dim=1).tolist()
            if sum(real) - rows * batch.shared <= (1 - WORTH) * further:
                lengths = real
        tokens = sum(lengths) - batch.shared * (rows - 1)
        read = head.read(batch) if self.reads else None
        if read is not None and 4 * len(read[0]) > 3 * tokens:
            read = None  # the last block computes the projections of what is read twice
        if tokens == rows * length and read is None:
            return batch
        return replace(batch, packing=Packing(lengths, batch.shared, read, batch.ids_BT.device))


def inputs_of(loaded: LoadedModel, batch: Batch) -> dict[str, torch.Tensor]:
    """Arguments of the backbone: [B, T], or [1, N] of a packed batch."""
    packing = batch.packing
    if packing is None:
        return model_inputs(loaded, batch.ids_BT, batch.mask_BT)
    ids = batch.ids_BT[packing.rows_N.clamp_min(0), packing.positions_N][None]
    return {"input_ids": ids, "position_ids": packing.positions_N[None], "attention_mask": torch.ones_like(ids)}
