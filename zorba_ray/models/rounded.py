"""Matrices that stay packed for a whole run, because nobody trains them: θ0 has the values that they unpack to."""

import torch

from zorba_ray.errors import ModelError
from zorba_ray.formats import PackedFormat, round_trip
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.loaded import LoadedModel


@torch.no_grad()
def round_matrices(loaded: LoadedModel, format: PackedFormat, blocks: bool) -> None:
    """Packs and unpacks matrices in place: those of the blocks, without adapters, or those outside the blocks.

    Raises:
        ModelError: a matrix has a value that is not finite, or nearly as large as fp32 allows.
    """
    network, count = loaded.network, len(loaded.blocks)
    for entry in model_manifest(network, loaded.blocks_name, count, loaded.unused).tensors:
        if not entry.packable or (entry.block < count) != blocks:
            continue
        theta = network.get_parameter(entry.name).data
        try:
            values = round_trip(theta.reshape(-1).float().cpu(), entry.shape, format)
        except ValueError as error:
            raise ModelError(
                f"model.path={loaded.label}: {entry.name} cannot be packed in {format}: its values are not finite, or "
                "above 2^127; keep it in the compute dtype (memory.frozen_format, memory.stem_format)"
            ) from error
        theta.copy_(values.view(entry.shape))
