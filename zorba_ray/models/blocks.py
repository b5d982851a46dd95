"""A module tree -> its ordered transformer blocks and the manifest of its parameters."""

from torch import nn

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM, HEAD
from zorba_ray.errors import ModelError
from zorba_ray.models.manifest import Manifest, build_manifest


def find_blocks(model: nn.Module, label: str) -> tuple[str, nn.ModuleList]:
    """(dotted name, list) of the model's transformer blocks: its one ModuleList of equal, parameterised modules.

    Raises:
        ModelError: no such list, several (an encoder-decoder), or blocks that share parameters (ALBERT).
    """
    found: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(name.startswith(f"{outer}.") for outer, _ in found):
            continue
        kinds = {type(child) for child in module}
        if len(kinds) == 1 and any(True for child in module for _ in child.parameters()):
            found.append((name, module))
    if not found:
        raise ModelError(
            f"model.path={label}: no list of transformer blocks (a ModuleList of equal modules) in "
            f"{type(model).__name__}; a decoder or encoder in Hugging Face layout is needed"
        )
    if len(found) > 1:
        names = ", ".join(f"{name} ({len(blocks)})" for name, blocks in found)
        raise ModelError(f"model.path={label}: several block lists ({names}); only models with one are supported")
    name, blocks = found[0]
    seen: set[int] = set()
    for block in blocks:
        own = {id(parameter) for parameter in block.parameters()}
        if own & seen:
            raise ModelError(f"model.path={label}: blocks of {name} share parameters; they cannot be activated apart")
        seen |= own
    return name, blocks


def model_manifest(model: nn.Module, list_name: str, blocks: int) -> Manifest:
    """Manifest of all parameters of `model`; tied weights appear once, under the first name in (block, name) order."""
    names: dict[int, tuple[int, str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        place = (_home(name, list_name), name)
        names[id(parameter)] = min(place, names.get(id(parameter), place))
    block_of = {name: home for home, name in names.values()}
    shapes = {name: tuple(model.get_parameter(name).shape) for name in block_of}
    return build_manifest(shapes, block_of, blocks)


def _home(name: str, list_name: str) -> int:
    """Block id of a parameter: its block, or the part of the stem that its name tells."""
    if name.startswith(f"{list_name}."):
        return int(name[len(list_name) + 1 :].split(".", 1)[0])
    parts = name.lower().split(".")
    if any("embed" in part or part in ("wte", "wpe") for part in parts):
        return EMBEDDINGS
    if any("norm" in part or part.startswith("ln") for part in parts) and not parts[0].startswith(("lm_head", "cls")):
        return FINAL_NORM
    return HEAD
