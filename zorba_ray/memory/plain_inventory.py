"""Bytes of the other methods' clients, in closed form. All weights lie on the accelerator in the compute dtype."""

from zorba_ray.directions import EMBEDDINGS, HEAD
from zorba_ray.memory.activations import Activations
from zorba_ray.memory.architecture import architecture
from zorba_ray.memory.footprint import Footprint, footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES
from zorba_ray.memory.method import ADAMW, DECOMFL_BATCH, Method
from zorba_ray.memory.workload import Workload
from zorba_ray.models import Manifest
from zorba_ray.models.lora import is_attention


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
        live.size * tensor.numel for tensor in manifest.tensors
    ]  # fmt: skip
    if method.rank:
        weights = weights | {"active": sum(moved)}
    z = 0 if stored else max(moved)
    blocks = live.hidden * (live.shape.outer + 1 + live.forward(mixed=False)) + live.inputs(1, 1)
    if method.rank:
        beside = live.shape.outer + 1 + live.adapted_attention(method.rank)
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
        size * tensor.numel for tensor in manifest.tensors if tensor.block != unread
    ]  # fmt: skip
    gradients = sum(moved)
    state = 2 * gradients if adapters or method == ADAMW else 0
    layers = len(moved) / 2 / manifest.blocks if adapters else 0
    saved = h * (live.saved(method.targets if adapters else None) + layers * method.rank / live.work.hidden)
    first = h * (4 / size if live.shape.rms else 1) if adapters else 0.0
    """Embeddings need no gradient, so the first block's norm keeps nothing."""
    all_saved = manifest.blocks * saved - first + live.inputs(1, 1)
    last = 0 if adapters else size * max(t.numel for t in manifest.by_block[manifest.blocks - 1])
    """Gradient of one weight of the feed-forward layer."""
    table = 0 if adapters else max(size * t.numel for t in manifest.by_block[EMBEDDINGS])
    below = gradients - table - size * sum(t.numel for t in manifest.by_block[0]) if not adapters else gradients
    moments = [
        {"activations": all_saved + h, "logits": live.logits(backward=True)},
        {"activations": all_saved + h * live.backward(), "gradients": last},
        {"activations": saved + h * live.backward(), "gradients": below},
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
    """Bytes of A [r, n] and B [m, r] beside every attention projection, or every linear layer, [m, n] of a block."""
    return [
        size * method.rank * side
        for block in range(manifest.blocks)
        for tensor in manifest.by_block[block]
        if len(tensor.shape) == 2 and (method.targets == "all" or is_attention(tensor.name))
        for side in tensor.shape
    ]
