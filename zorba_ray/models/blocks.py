"""Finds the transformer blocks of a network, and makes the manifest of its parameters."""

from collections.abc import Callable, Collection

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM, HEAD
from zorba_ray.errors import ModelError
from zorba_ray.models.manifest import Manifest, build_manifest


def find_blocks(model: nn.Module, label: str, forward: Callable[[], object] | None = None) -> tuple[str, nn.ModuleList]:
    """(dotted name, list) of the model's transformer blocks: its only ModuleList of modules with parameters that is not
    inside another such list.

    Args:
        forward: runs the model on text. If there are several lists, those are ignored whose modules it does not run,
            such as the blocks of a vision tower. None: no list is ignored.

    Raises:
        ModelError: no such list, several (an encoder-decoder), or blocks that share parameters.
    """
    lists: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(name.startswith(f"{outer}.") for outer, _ in lists):
            continue
        if all(_is_block(child) for child in module) and len(module):
            lists.append((name, module))
    if len(lists) > 1 and forward is not None:
        ran: set[nn.Module] = set()
        with register_module_forward_pre_hook(lambda module, _: ran.add(module)):
            forward()
        lists = [(name, blocks) for name, blocks in lists if any(part in ran for part in blocks.modules())]
    if not lists:
        raise ModelError(
            f"model.path={label}: no list of transformer blocks (a ModuleList of modules with parameters) in "
            f"{type(model).__name__}; choose a decoder or encoder in Hugging Face format"
        )
    if len(lists) > 1:
        names = ", ".join(f"{name} ({len(blocks)})" for name, blocks in lists)
        raise ModelError(
            f"model.path={label}: several lists of blocks ({names}); choose a model with all its blocks in one list"
        )
    name, blocks = lists[0]
    used: set[int] = set()
    for block in blocks:
        parameters = {id(parameter) for parameter in block.parameters()}
        if parameters & used:
            raise ModelError(
                f"model.path={label}: blocks of {name} share parameters, so they cannot be activated separately; "
                "choose a model whose blocks share none"
            )
        used |= parameters
    return name, blocks


def _is_block(module: nn.Module) -> bool:
    """Whether the module has child modules and parameters; a single layer is not a block."""
    return next(module.children(), None) is not None and next(module.parameters(), None) is not None


def model_manifest(model: nn.Module, list_name: str, blocks: int, unused: Collection[str] = ()) -> Manifest:
    """Manifest of all parameters of `model`; tied weights appear once, under the first name in (block, name) order.

    Args:
        unused: names of parameters that do not reach the loss; they are not part of θ.
    """
    names: dict[int, tuple[int, str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        home = (_home(name, list_name), name)
        names[id(parameter)] = min(home, names.get(id(parameter), home))
    block_of = {name: home for home, name in names.values() if name not in unused}
    shapes = {name: tuple(model.get_parameter(name).shape) for name in block_of}
    return build_manifest(shapes, block_of, blocks)


def _home(name: str, list_name: str) -> int:
    """Block id of a parameter: its block, or its part of the stem by its name."""
    if name.startswith(f"{list_name}."):
        return int(name[len(list_name) + 1 :].split(".", 1)[0])
    parts = name.lower().split(".")
    if any("embed" in part or part in ("wte", "wpe") for part in parts):
        return EMBEDDINGS
    if any("norm" in part or part.startswith("ln") for part in parts) and not parts[0].startswith(("lm_head", "cls")):
        return FINAL_NORM
    return HEAD
