"""The memory model on one model small enough to add up by hand.

Two equal blocks of attn (weight 4×4, bias 4), mlp (weight 8×4) and norm (weight 4); embeddings 10×4; a final norm of 4.
Batch B = 3, T = 5, H = 4, two label words. In bf16 matrices take 2 bytes an element, 1-D tensors 4:

    block, frozen        16·2 + 32·2 + 4·4 + 4·4 = 128
    block, fp32 master   16·4 + 32·4 + 4·4 + 4·4 = 224, so an active one costs 96 more
    stem                 40·2 + 4·4 = 96
    scratch              the larger leaf: mlp 32·2 = 64 against attn 16·2 + 4·4 = 48

Activations: one hidden state of one sign is h = 3·5·4·2 = 120. The norms have no bias, so they are RMS norms in fp32:
a copy, a product and a product with the weight, each 2h. A block above its input takes 7h: attention (norm, and query,
key and value with three temporaries of the rotation) 1 + 6; the norm in the middle 1 + 6; the feed-forward layer, 8
wide, 1 + 1 + 2·2. The largest moment is a frozen block on both signs: prefix 1, halves of the last active block 2, the
pair 2, the block 2·7: 19h = 2,280. Beside it for 3 batches ids and mask, 16 bytes a token, and attention masks (5
bytes) with positions (8): 15·(48 + 39) = 1,305; together 3,585.
"""

import itertools

import numpy as np
import pytest

from tests.support.tiny_models import BLOCKS, HIDDEN, tiny_loaded
from zorba_ray.config import MemoryConfig
from zorba_ray.directions import EMBEDDINGS, FINAL_NORM
from zorba_ray.memory import ClientMemory, Workload, client_memory
from zorba_ray.memory.inventory import Inventory, zorba_footprint
from zorba_ray.models import Manifest, Placement, Replica, Scope
from zorba_ray.models.manifest import build_manifest

WORK = Workload(batch_size=3, length=5, hidden=4, logits=2, positions=1)


def two_blocks() -> Manifest:
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (10, 4), "norm.weight": (4,)}
    homes = {"embed.weight": EMBEDDINGS, "norm.weight": FINAL_NORM}
    for block in (0, 1):
        own = {"attn.weight": (4, 4), "attn.bias": (4,), "mlp.weight": (8, 4), "norm.weight": (4,)}
        shapes |= {f"h.{block}.{name}": shape for name, shape in own.items()}
        homes |= {f"h.{block}.{name}": block for name in own}
    return build_manifest(shapes, homes, 2)


def memory(scope: Scope = "all", work: Workload = WORK, **changes: str) -> ClientMemory:
    return client_memory(two_blocks(), MemoryConfig.model_validate(changes), scope, work)


def test_by_hand_with_everything_on_the_device() -> None:
    found = memory()
    assert found.parts == {
        "stem": 96, "frozen": 256, "scratch": 64, "stream buffers": 0, "activations": 3585, "logits": 0,
    }  # fmt: skip
    assert found.active_extra.tolist() == [96, 96]
    assert found.base == 4001
    assert [found.bytes_of(frozenset(a)) for a in ((), (0,), (1,), (0, 1))] == [4001, 4097, 4097, 4193]
    assert found.source == "modelled"


def test_by_hand_with_frozen_blocks_on_the_host() -> None:
    """Nothing frozen is resident: two buffers of a block (256) instead, and an active block costs all of its 224."""
    found = memory(frozen="host")
    assert (found.parts["frozen"], found.parts["stream buffers"]) == (0, 256)
    assert found.active_extra.tolist() == [224, 224]


@pytest.mark.parametrize(("frozen", "extra"), [("device", 0), ("host", 128)])
def test_by_hand_with_the_master_on_the_host(frozen: str, extra: int) -> None:
    """An active block is a compute-dtype copy: no more than a frozen one that is resident."""
    assert memory(master="host", frozen=frozen).active_extra.tolist() == [extra, extra]


def test_by_hand_in_fp32() -> None:
    """Blocks 224 each, active or frozen; stem 176; scratch 128. h = 240; no copies for norms, which take 2h; a block
    takes 7h (attention): a frozen one on both signs 1 + 2 + 2 + 14 = 19h = 4,560, and 15·(48 + 39) = 1,305."""
    found = memory(compute_dtype="fp32")
    assert found.parts == {
        "stem": 176, "frozen": 448, "scratch": 128, "stream buffers": 0, "activations": 5865, "logits": 0,
    }  # fmt: skip
    assert found.active_extra.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("scope", "frozen", "extra", "scratch"),
    [
        ("matrices", "device", 96, 64),  # 48 elements at 4 instead of 2 bytes
        ("matrices", "host", 192, 64),  # the 1-D rest is streamed like a frozen block
        ("bias_norm", "device", 0, 16),  # fp32 already: activation is free
        ("bias_norm", "host", 32, 16),
    ],
)
def test_by_hand_by_scope(scope: Scope, frozen: str, extra: int, scratch: int) -> None:
    found = memory(scope, frozen=frozen)
    assert found.active_extra.tolist() == [extra, extra]
    assert found.parts["scratch"] == scratch
    assert found.parts["stem"] == 96
    assert found.parts["frozen"] == (256 if frozen == "device" else 0)


def test_logits_of_a_language_model() -> None:
    """One sign at a time: 3·4 counted positions, each a gathered hidden state of 8 bytes, and 100 logits in fp32 with
    their log-softmax: 12·(8 + 800) = 9,696. Beside them prefix and pair, 3h, and ids and masks for 3: 360 + 1,305."""
    found = memory(work=Workload(3, 5, 4, logits=100, positions=5))
    assert (found.parts["activations"], found.parts["logits"]) == (1665, 9696)


def test_a_gated_layer_holds_three_tensors() -> None:
    """12 wide, three tensors of 3h each, with the norm's output and the middle 11h; a frozen block 1 + 4 + 22 = 27h =
    3,240, and 1,305. One such tensor less would be 21h."""
    shapes: dict[str, tuple[int, ...]] = {
        "h.0.gate.weight": (12, 4), "h.0.up.weight": (12, 4), "h.0.down.weight": (4, 12), "h.0.norm.weight": (4,),
        "h.1.gate.weight": (12, 4), "h.1.up.weight": (12, 4), "h.1.down.weight": (4, 12), "h.1.norm.weight": (4,),
    }  # fmt: skip
    homes = {name: int(name[2]) for name in shapes} | {"embed.weight": EMBEDDINGS, "norm.weight": FINAL_NORM}
    gated = build_manifest({"embed.weight": (10, 4), "norm.weight": (4,), **shapes}, homes, 2)
    assert client_memory(gated, MemoryConfig(), "all", WORK).parts["activations"] == 3240 + 1305


def test_activations_grow_with_batch_and_length() -> None:
    """Twice the rows, twice everything; twice the length, masks four times as large: the attention takes 7.5h with its
    own, 1 + 2 + 2 + 2·7.5 = 20h, h = 240, and 30·(48 + 3·(8 + 10))."""
    base = memory().parts["activations"]
    assert memory(work=Workload(6, 5, 4, 2, 1)).parts["activations"] == 2 * base
    assert memory(work=Workload(3, 10, 4, 2, 1)).parts["activations"] == 20 * 240 + 30 * 102


class TestPacked:
    """Blocks of attn 64×64 with a bias, mlp 128×64 and a norm. In bf16: 8,192 + 16,384 + 2·256 = 25,088 bytes.

    int8  attn 64·4 + 4,096, mlp 128·4 + 8,192, vectors 512: 13,568
    nf4   64 bytes for the maximum of a group; attn 64 + 2,048, mlp 128 + 4,096, vectors 512: 6,976
    """

    FROZEN = {"int8": 13568, "nf4": 6976}  # noqa: RUF012

    @staticmethod
    def manifest() -> Manifest:
        shapes: dict[str, tuple[int, ...]] = {"embed.weight": (100, 64), "norm.weight": (64,)}
        homes = {"embed.weight": EMBEDDINGS, "norm.weight": FINAL_NORM}
        for block in (0, 1):
            own = {"attn.weight": (64, 64), "attn.bias": (64,), "mlp.weight": (128, 64), "norm.weight": (64,)}
            shapes |= {f"h.{block}.{name}": shape for name, shape in own.items()}
            homes |= {f"h.{block}.{name}": block for name in own}
        return build_manifest(shapes, homes, 2)

    def memory(self, scope: Scope = "all", work: Workload = WORK, rank: int = 0, **changes: str) -> ClientMemory:
        return client_memory(self.manifest(), MemoryConfig.model_validate(changes), scope, work, rank)

    @pytest.mark.parametrize("format", FROZEN)
    def test_a_frozen_block_is_packed_and_an_active_one_is_not(self, format: str) -> None:
        size = self.FROZEN[format]
        for master, active in (("host", 25088), ("device", 4 * (4096 + 8192 + 128))):
            found = self.memory(frozen_format=format, master=master)
            assert found.parts["frozen"] == 2 * size
            assert found.active_extra.tolist() == [active - size] * 2
            assert found.parts["scratch"] == 16384  # mlp, perturbed or unpacked
        streamed = self.memory(frozen_format=format, master="host", frozen="host")
        assert (streamed.parts["frozen"], streamed.parts["stream buffers"]) == (0, 2 * size)
        assert streamed.active_extra.tolist() == [25088] * 2

    def test_what_is_out_of_scope_is_packed_in_active_blocks_too(self) -> None:
        """Vectors alone move: a budget cannot bind. A layer with a perturbed bias also unpacks its matrix."""
        found = self.memory("bias_norm", frozen_format="nf4", master="host")
        assert found.active_extra.tolist() == [0, 0]
        assert found.parts["scratch"] == 16384
        assert self.memory("biases", frozen_format="nf4", master="host").parts["scratch"] == 16384
        assert self.memory("attention", frozen_format="nf4", master="host").active_extra.tolist() == [8192 - 2176] * 2

    def test_factors_are_apart_from_the_unpacked_matrix(self) -> None:
        slim, dense = (self.memory(rank=2, frozen_format=format, master="host") for format in ("nf4", "compute"))
        assert slim.parts["scratch"] == dense.parts["scratch"] + 16384

    def test_a_packed_stem(self) -> None:
        """100 × 64 and the norm. Its head is unpacked in rows where the loss is over the vocabulary."""
        assert self.memory(stem_format="int8").parts["stem"] == 448 + 6400 + 256
        assert self.memory(stem_format="int8").parts["logits"] == self.memory().parts["logits"]
        words = Workload(3, 5, 64, logits=10_000, positions=5)
        plain, packed = (self.memory(work=words, stem_format=format).parts["logits"] for format in ("compute", "int8"))
        assert plain == 12 * (128 + 80_000)
        assert packed == 12 * 128 + 2 * (120_000 + 8192 * (64 + 12))

    def test_a_matrix_that_packing_makes_larger_never_costs_less_than_nothing(self) -> None:
        assert (memory(frozen_format="int8", master="host").active_extra >= 0).all()


@pytest.mark.parametrize("kind", ["opt", "llama", "bert"])
@pytest.mark.parametrize(("frozen", "master"), list(itertools.product(("device", "host"), repeat=2)))
def test_more_active_blocks_never_take_less(kind: str, frozen: str, master: str) -> None:
    """All subsets of five blocks; the sum is base plus what each block costs."""
    manifest = Replica(tiny_loaded(kind)).manifest
    config = MemoryConfig.model_validate({"frozen": frozen, "master": master})
    found = client_memory(manifest, config, "all", WORK)
    assert (found.active_extra >= 0).all()
    assert found.active_extra.dtype == np.int64
    for bits in range(1 << BLOCKS):
        own = frozenset(b for b in range(BLOCKS) if bits >> b & 1)
        for more in set(range(BLOCKS)) - own:
            assert found.bytes_of(own | {more}) - found.bytes_of(own) == found.active_extra[more]


def test_all_active_on_the_device_holds_an_fp32_model() -> None:
    """Blocks 4 bytes an element whatever the dtype of the frozen copies, beside the stem."""
    manifest = Replica(tiny_loaded("llama")).manifest
    found = client_memory(manifest, MemoryConfig.model_validate({}), "all", WORK)
    everything = found.parts["frozen"] + int(found.active_extra.sum())
    assert everything == 4 * sum(e.numel for b in range(BLOCKS) for e in manifest.by_block[b])


@pytest.mark.parametrize(("master", "scratch"), [("host", 168), ("device", 232)])
def test_low_rank_needs_factors_instead_of_a_copy(master: str, scratch: int) -> None:
    """r = 2, bf16: mlp 2·(8 + 4 + 30)·2 = 168; attn 2·(4 + 4 + 30)·2 + 4·4 = 168. An fp32 master on the accelerator is
    cast leaf by leaf: 64 more. The rest is as with dense directions."""
    config = MemoryConfig.model_validate({"master": master})
    dense, slim = (client_memory(two_blocks(), config, "all", WORK, rank) for rank in (0, 2))
    assert slim.parts["scratch"] == scratch
    assert {**slim.parts, "scratch": 0} == {**dense.parts, "scratch": 0}


@pytest.mark.parametrize("kind", ["opt", "llama", "bert"])
@pytest.mark.parametrize(
    ("frozen", "master", "format"), list(itertools.product(("device", "host"), ("device", "host"), ("compute", "nf4")))
)
def test_no_active_set_holds_more_than_the_sum_says(kind: str, frozen: str, master: str, format: str) -> None:
    """What the solver is given bounds the exact bytes of every active set from above."""
    manifest = Replica(tiny_loaded(kind)).manifest
    config = MemoryConfig.model_validate({"frozen": frozen, "master": master, "frozen_format": format})
    held = Inventory(manifest, Placement(frozen, master, format), "all", 2)  # type: ignore[arg-type]
    work = Workload(4, 16, HIDDEN, 3, 1)
    bound = client_memory(manifest, config, "all", work)
    for bits in range(1, 1 << BLOCKS):
        active = frozenset(b for b in range(BLOCKS) if bits >> b & 1)
        exact = zorba_footprint(held, work, active)
        assert exact.total <= bound.bytes_of(active)
