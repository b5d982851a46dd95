"""Bytes of the other methods' clients, in closed form. All weights lie on the accelerator in the compute dtype."""

from zorba_ray.directions import EMBEDDINGS, HEAD
from zorba_ray.memory.activations import Activations, Layers
from zorba_ray.memory.architecture import architecture
from zorba_ray.memory.footprint import Footprint, footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES
from zorba_ray.memory.method import DECOMFL_BATCH, Method
from zorba_ray.memory.workload import Workload
from zorba_ray.models import Manifest, Scope
from zorba_ray.models.lora import is_target

_READ: dict[Scope, tuple[Layers, bool]] = {
    "all": ("all", True),
    "matrices": ("all", False),
    "attention": ("attention", False),
    "feed_forward": ("feed_forward", False),
    "bias_norm": ("none", True),
    "biases": ("none", True),
    "norm_weights": ("none", True),
}
"""Scope -> layers whose weights are trained, and whether a norm's weight or bias is."""


def plain_footprint(manifest: Manifest, compute: str, work: Workload, method: Method) -> Footprint:
    """What a client of `method` (any but zorba) holds at its peak."""
    size = COMPUTE_BYTES[compute]
    live = Activations(architecture(manifest, work.hidden), work, size)
    inside = sum(size * t.numel for t in manifest.tensors if t.block in range(manifest.blocks))
    weights = {"stem": size * manifest.numel - inside, "frozen" if method.rank else "active": inside}
    if method.first_order:
        return _first_order(manifest, live, weights, method)
    return _zeroth_order(manifest, live, weights, method)


def _zeroth_order(manifest: Manifest, live: Activations, weights: dict[str, int], method: Method) -> Footprint:
    """The larger of the two moments: a tensor's z while θ moves, or the forward pass. A stored z stands in both."""
    stored = live.size * manifest.numel if method == DECOMFL_BATCH else 0
    moved = _adapters(manifest, live.size, method) if method.rank else [
        live.size * tensor.numel for tensor in method.trained(manifest)
    ]  # fmt: skip
    if method.rank:
        weights = weights | {"active": sum(moved)}
    z = 0 if stored else max(moved)
    blocks = live.hidden * (live.shape.outer + 1 + live.forward(mixed=False)) + live.inputs(1, 1)
    if method.rank:
        beside = live.shape.outer + 1 + live.adapted_attention(method.rank, method.targets)
        blocks = max(blocks, live.hidden * beside + live.inputs(1, 1))
    head = live.hidden + live.inputs(1, 1)
    logits = live.logits(backward=False)
    state = 4 * method.seeds
    if z > max(blocks, head + logits):
        return footprint("modelled", **weights, scratch=z, activations=round(live.inputs(1, 0)), optimizer_state=state)
    at_head = head + logits > blocks
    return footprint(
        "modelled",
        **weights,
        scratch=stored,
        activations=round(head if at_head else blocks),
        logits=round(logits) if at_head else 0,
        optimizer_state=state,
    )


def _first_order(manifest: Manifest, live: Activations, weights: dict[str, int], method: Method) -> Footprint:
    """The largest of: the head's loss; the start of the backward pass, when every block's activations are saved; its
    end, when all gradients but few activations are there; the optimizer's step, with one temporary of a tensor."""
    size, h, adapters = live.size, live.hidden, method.rank > 0
    unread = HEAD if live.work.positions == 1 else None
    moved = _adapters(manifest, size, method) if adapters else [
        size * tensor.numel for tensor in method.trained(manifest) if tensor.block != unread
    ]  # fmt: skip
    gradients = sum(moved)
    state = 2 * gradients if method.moments else 0
    layers = len(moved) / 2 / manifest.blocks if adapters else 0
    adapted: Layers = "all" if method.targets == "all" else "attention"
    read, norms = (adapted, False) if adapters else _READ[method.scope or "all"]
    norms = norms and not (live.shape.rms and method.scope == "biases")
    saved = h * (live.saved(read, norms) + layers * method.rank / live.work.hidden)
    first = 0.0
    """What the first block does not keep, as embeddings need no gradient: its norm, or attention as a whole."""
    attention, norm = live.saved_attention(False, norms), live.normed(norms)
    if read == "feed_forward":  # where norms come first, the second one's neither
        first = h * (attention if live.shape.post_norm else attention + norm)
    elif live.shape.post_norm and method.scope == "norm_weights":
        first = h * (attention - norm)
    elif adapters or method.scope is not None:
        first = h * (4 / size if live.shape.rms else 0 if norms else 1)
    backward = h * live.backward(not adapters and read in ("feed_forward", "all"))
    all_saved = manifest.blocks * saved - first + live.inputs(1, 1)
    blocks = {} if adapters else {
        block: [size * t.numel for t in method.trained(manifest) if t.block == block]
        for block in (EMBEDDINGS, 0, manifest.blocks - 1)
    }  # fmt: skip
    last = 0 if adapters else max(blocks[manifest.blocks - 1], default=0)
    """Gradient of one weight of the feed-forward layer."""
    below = gradients if adapters else gradients - max(blocks[EMBEDDINGS], default=0) - sum(blocks[0])
    moments = [
        {"activations": all_saved + h, "logits": live.logits(backward=True)},
        {"activations": all_saved + backward, "gradients": last},
        {"activations": saved + backward, "gradients": below},
        {"activations": h, "gradients": gradients},
        {"gradients": gradients, "temporary": max(moved) if state else 0},
    ]
    top = {name: round(value) for name, value in max(moments, key=lambda moment: sum(moment.values())).items()}
    return footprint(
        "modelled",
        **weights,
        **({"active": gradients} if adapters else {}),
        activations=top.get("activations", 0),
        logits=top.get("logits", 0),
        gradients=top.get("gradients", 0),
        optimizer_state=state + top.get("temporary", 0),
    )


def _adapters(manifest: Manifest, size: int, method: Method) -> list[int]:
    """Bytes of A [r, n] and B [m, r] beside every linear layer [m, n] of the blocks that has adapters."""
    return [
        size * method.rank * side
        for block in range(manifest.blocks)
        for tensor in manifest.by_block[block]
        if len(tensor.shape) == 2 and is_target(tensor.name, method.targets)
        for side in tensor.shape
    ]
