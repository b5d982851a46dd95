"""Matrices that stay packed for a whole run, because nobody trains them: θ0 has the values that they unpack to."""

import torch

from zorba_ray.errors import ModelError
from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import ADAPTER


@torch.no_grad()
def round_matrices(loaded: LoadedModel, format: PackedFormat, blocks: bool) -> None:
    """Packs and unpacks matrices in place: those of the blocks, without adapters, or those outside the blocks.

    Raises:
        ModelError: a matrix has a value that is not finite, or nearly as large as fp32 allows.
    """
    inside = f"{loaded.blocks_name}."
    for name, parameter in loaded.network.named_parameters():
        adapter = name.rsplit(".", 1)[-1].startswith(ADAPTER)
        if (
            parameter.ndim < 2
            or adapter
            or (not blocks and parameter.ndim > 2)
            or name.startswith(inside) != blocks
            or name in loaded.unused
        ):
            continue
        shape, theta = tuple(parameter.shape), parameter.data.reshape(-1)
        packed = torch.empty(slab(format, shape).nbytes, dtype=torch.uint8)
        value = torch.empty(theta.numel())
        try:
            pack_into(packed, theta.float().cpu(), shape, format)
        except ValueError as error:
            raise ModelError(
                f"model.path={loaded.label}: {name} cannot be packed in {format}: its values are not finite, or above "
                "2^127; keep it in the compute dtype (memory.frozen_format, memory.stem_format)"
            ) from error
        unpack_into(value, packed, shape, format)
        parameter.data.copy_(value.view(shape))
