"""The replica of a process: θ as one aligned fp32 tensor (the arena); all parameters of the model are views of it."""

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
    """Commits of a run that some blocks may still lack. A position is a number of commits."""

    position: int
    """Number of commits so far."""
    oldest: int
    """Commits before this position are no longer kept, so tensors at an earlier position cannot be updated."""

    def sync(self, block: int, theta: Mapping[str, torch.Tensor], position: int) -> None:
        """Applies the commits since `position` to a block's tensors in scope (name -> flat fp32), in place."""
        ...


class Replica:
    """The master weights of one process, in the manifest's order, each tensor 64-byte aligned.

    With `commits` set, a block may lack the newest ones. Call `sync` before you read it.
    """

    def __init__(self, loaded: LoadedModel, device: str = "cpu", pinned: bool = False) -> None:
        """Moves the parameters of `loaded.network` into an arena on `device`; tied weights stay tied.

        `pinned`: in page-locked host memory, from which a GPU can copy without the CPU.
        """
        network, blocks = loaded.network, len(loaded.blocks)
        self.manifest: Manifest = model_manifest(network, loaded.blocks_name, blocks, loaded.unused)
        self.held: Manifest = model_manifest(network, loaded.blocks_name, blocks)
        """All tensors of an accelerator, with those that do not reach the loss, because they are computed with, too."""
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
        """Number of commits so far."""
        return 0 if self.commits is None else self.commits.position

    def sync(self, block: int) -> int:
        """Applies the commits that a block lacks. Returns its position."""
        if self.commits is not None and self.lacks(block):
            self.commits.sync(block, self.parameters, self._positions[block])
            self._positions[block] = self.commits.position
        return self._positions[block]

    def sync_all(self) -> None:
        """`sync` of every block."""
        for block in range(self.manifest.blocks):
            self.sync(block)

    def lacks(self, block: int) -> bool:
        """Whether a block lacks commits."""
        return self.commits is not None and self._positions[block] != self.commits.position

    def overwritten(self) -> None:
        """Call it after all blocks were overwritten, as by a snapshot, with all commits applied."""
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
    """Writes θ and the tokenizer to a folder in Hugging Face format. The network no longer uses the arena afterwards.

    Args:
        adapter: settings of the model's adapters: only these are written, in PEFT format. None: all weights are
            written, with merged adapters.
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
        module.__dict__.pop("forward", None)  # removes the wrappers of forward pairs
    merge_lora(loaded.network)
    # Weights that the checkpoint lacked and the loss does not use are random, so they are left out.
    state = {name: tensor for name, tensor in loaded.network.state_dict().items() if name not in loaded.fresh}
    loaded.network.save_pretrained(folder, state_dict=state)
    loaded.tokenizer.save_pretrained(folder)


def move_rest(loaded: LoadedModel, device: str, dtype: torch.dtype = torch.float32) -> None:
    """Moves all that is not part of θ to `device`: buffers (rotary tables, positions), and tensors that do not reach
    the loss; their matrices get `dtype`."""
    for module in loaded.network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
    for name in loaded.unused:
        parameter = loaded.network.get_parameter(name)
        parameter.data = parameter.data.to(device, dtype if parameter.ndim >= 2 else torch.float32)
