"""θ: one aligned fp32 arena that all parameters of a model are views of."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch

from zorba_ray.config.model import LoraConfig
from zorba_ray.errors import Diverged
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.lora import merge_lora
from zorba_ray.models.manifest import Manifest, Scope
from zorba_ray.models.peft_folder import write_adapter
from zorba_ray.models.swap import Holder, holders_of, is_aligned

_TILE = 1 << 16


class Commits(Protocol):
    """Commits of a run that blocks may still lack, known by how many came before."""

    position: int
    """Commits so far."""
    oldest: int
    """Tensors that stand at an earlier position cannot be brought up to date from here."""

    def sync(self, block: int, theta: Mapping[str, torch.Tensor], position: int) -> None:
        """Applies the commits since `position` to a block's tensors in scope (name -> flat fp32), in place."""
        ...


class Replica:
    """The master weights of one process, in the manifest's order, each tensor 64-byte aligned.

    With `commits` set, a block may lack the newest ones: whoever reads it brings it up to date first.
    """

    def __init__(self, loaded: LoadedModel, device: str = "cpu", pinned: bool = False) -> None:
        """Moves the parameters of `loaded.network` into an arena on `device`; tied weights stay tied.

        `pinned`: page-locked host memory, from which a GPU copies by itself.
        """
        network, blocks = loaded.network, len(loaded.blocks)
        self.manifest: Manifest = model_manifest(network, loaded.blocks_name, blocks, loaded.unused)
        self.held: Manifest = model_manifest(network, loaded.blocks_name, blocks)
        """What an accelerator holds: tensors that do not reach the loss are computed with all the same."""
        self.theta = torch.zeros(self.manifest.size, dtype=torch.float32, device=device, pin_memory=pinned)
        assert is_aligned(self.theta), "the arena must be 64-byte aligned"
        self.parameters: dict[str, torch.Tensor] = {}
        """Name -> flat view of the arena."""
        for entry in self.manifest.tensors:
            view = self.theta[entry.offset : entry.offset + entry.numel]
            parameter = network.get_parameter(entry.name)
            view.copy_(parameter.data.reshape(-1))
            parameter.data = view.view(entry.shape)
            self.parameters[entry.name] = view
        self.holders: dict[str, list[Holder]] = holders_of(network, self.parameters)
        move_rest(loaded, device)
        self.commits: Commits | None = None
        self._positions = [0] * blocks

    @property
    def position(self) -> int:
        """Commits so far."""
        return 0 if self.commits is None else self.commits.position

    def sync(self, block: int) -> int:
        """Applies to a block the commits that it lacks; returns its position."""
        if self.commits is not None and self.lacks(block):
            self.commits.sync(block, self.parameters, self._positions[block])
            self._positions[block] = self.commits.position
        return self._positions[block]

    def sync_all(self) -> None:
        """`sync` of every block."""
        for block in range(self.manifest.blocks):
            self.sync(block)

    def lacks(self, block: int) -> bool:
        """Whether `sync` would write the block."""
        return self.commits is not None and self._positions[block] != self.commits.position

    def overwritten(self) -> None:
        """All blocks were written to the commits' present position from elsewhere."""
        if self.commits is not None:
            self._positions = [self.commits.position] * self.manifest.blocks

    def digest(self) -> str:
        """SHA-256 (hex) of all tensors, little-endian fp32, in the manifest's order."""
        self.sync_all()
        hasher = hashlib.sha256()
        for entry in self.manifest.tensors:
            hasher.update(self.parameters[entry.name].cpu().numpy().data)
        return hasher.hexdigest()

    def scoped_copy(self, scope: Scope) -> dict[str, torch.Tensor]:
        """Copies of the tensors that a run with `scope` can move (all blocks): θ0 for `distance`."""
        self.sync_all()
        return {entry.name: self.parameters[entry.name].clone() for entry in self.manifest.moved(scope)}

    def size(self) -> float:
        """‖θ‖ over all tensors."""
        self.sync_all()
        return math.hypot(*(float(torch.linalg.vector_norm(tensor)) for tensor in self.parameters.values()))

    def distance(self, origin: dict[str, torch.Tensor]) -> float:
        """‖θ − θ0‖ over the tensors of `origin`.

        Raises:
            Diverged: θ is no longer finite.
        """
        self.sync_all()
        total = 0.0
        for name, start in origin.items():
            for low in range(0, start.numel(), _TILE):  # temporaries that stay in cache: a tenth of the time
                tile = slice(low, low + _TILE)
                total += float((self.parameters[name][tile] - start[tile]).double().square().sum())
        if not total < float("inf"):
            raise Diverged("θ is no longer finite: the step was too large; lower zo.lr or set zo.clip")
        return total**0.5


def export(replica: Replica, loaded: LoadedModel, folder: Path, adapter: LoraConfig | None = None) -> None:
    """Writes a `save_pretrained` folder (weights and tokenizer) of θ. Unbinds the network from the arena.

    Args:
        adapter: what the model's adapters are: they alone are written, as a folder of PEFT. None: all weights, with
            the adapters merged into them.
    """
    replica.sync_all()
    if adapter is not None:
        write_adapter(folder, loaded.network, adapter, loaded.label, loaded.causal)
        loaded.tokenizer.save_pretrained(folder)
        return
    for entry in replica.manifest.tensors:
        parameter = loaded.network.get_parameter(entry.name)
        parameter.data = parameter.data.clone()
    for module in loaded.network.modules():
        module.__dict__.pop("forward", None)  # the wrappers of the paired forward
    merge_lora(loaded.network)
    # What the checkpoint lacked and the loss does not read was drawn at random: another model each time.
    state = {name: tensor for name, tensor in loaded.network.state_dict().items() if name not in loaded.fresh}
    loaded.network.save_pretrained(folder, state_dict=state)
    loaded.tokenizer.save_pretrained(folder)


def move_rest(loaded: LoadedModel, device: str, dtype: torch.dtype = torch.float32) -> None:
    """Moves what is no part of θ to `device`: buffers (rotary tables, positions), and tensors that do not reach the
    loss, whose matrices take `dtype`."""
    for module in loaded.network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
    for name in loaded.unused:
        parameter = loaded.network.get_parameter(name)
        parameter.data = parameter.data.to(device, dtype if parameter.ndim >= 2 else torch.float32)
