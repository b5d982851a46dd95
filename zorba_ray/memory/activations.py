"""The formula for the memory of activations: it depends on the batch, on how blocks are built, and on the head.

The formula is ours (algorithm.md §6). Its unit is h = N·H·s bytes: one hidden state of one sign, in the compute dtype
with s bytes. N is B·T tokens, or P + B·(T − P) if all rows share their first P tokens: the most that a batch can have,
so that one whose padding is left out needs less. An fp32 tensor of the same shape
takes 4/s h, the widest layer inside a block takes `inner` h, the queries take `query` h. Nothing is saved for a
backward pass: a tensor is freed after its last use. Each line follows the operators that transformers runs; `count`
checks the formula.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM
from zorba_ray.errors import ModelError
from zorba_ray.models import Manifest
from zorba_ray.models.packed_rows import AT_ONCE

_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim")
"""Names of the hidden width in configurations of different architectures."""
Nonlinearity = Literal["relu", "gelu", "written-out gelu", "swiglu"]


@dataclass(frozen=True)
class Workload:
    """Sizes of a batch and of the logits that a head computes from it."""

    batch_size: int
    """B, rows of one sign."""
    length: int
    """T."""
    hidden: int
    """H."""
    logits: int
    """C: logits per counted position (label words, label prompts, or the vocabulary)."""
    positions: int
    """Positions per row with a loss: 1 for a label, T for a next-token loss, the longest option plus 1 for options."""
    most_rows: int = 0
    """Most rows of a batch limited by `data.batch_tokens`; such a batch has at most `batch_size` rows of T tokens.
    0: B."""
    written: int = 0
    """Most tokens that the model writes after a prompt of T tokens, if its answers are judged as texts; 0: it writes
    none."""
    shared: int = 0
    """P, first tokens of all rows that are computed once."""
    unpadded: bool = False
    """Whether padding is left out. Then rows are copied side by side for their attention."""

    groups: int = 0
    """G, groups of examples with directions of their own (`zo.directions_per`); 0: the batch has one."""

    @property
    def packed(self) -> bool:
        """Whether batches are one sequence of their tokens."""
        return self.unpadded or self.shared > 0

    @property
    def tokens(self) -> int:
        """N, computed tokens of one sign, at most."""
        return self.batch_size * (self.length - self.shared) + self.shared


def workload_of(settings: Any, label: str, batch_size: int, length: int, labels: int | None) -> Workload:
    """The workload of a model.

    Args:
        settings: configuration of the transformers library.
        label: `model.path`, for messages.
        labels: C of a label head; None: the loss of a language model, over the vocabulary.

    Raises:
        ModelError: the configuration does not have the hidden width.
    """
    text = settings.get_text_config()
    widths = (getattr(text, name, None) for name in _HIDDEN)
    hidden = next((width for width in widths if isinstance(width, int) and width > 0), None)
    if hidden is None:
        raise ModelError(
            f"model.path={label}: {type(settings).__name__} has none of {', '.join(_HIDDEN)}, so the width of a hidden "
            "state is not known and memory cannot be modelled; choose another model"
        )
    return Workload(
        batch_size=batch_size,
        length=length,
        hidden=hidden,
        logits=int(text.vocab_size) if labels is None else labels,
        positions=length if labels is None else 1,
    )


@dataclass(frozen=True)
class Architecture:
    """How a block is built. Widths are multiples of the hidden width H."""

    inner: float
    """Width of the widest layer inside a block."""
    query: float
    """Width of all query heads together."""
    value: float
    """Width of all value heads together; less than `query` if query heads share them."""
    nonlinearity: Nonlinearity
    """Of the feed-forward layer: as in OPT (relu), BERT (gelu), GPT-2 (gelu of five operators), or Llama (swiglu, with
    a gate and an up projection)."""
    rms: bool
    """True: RMS norms, computed by several operators in fp32. False: layer norms, one operator each."""
    post_norm: bool
    """True: norms come after attention and feed-forward layer, as in BERT. False: before them, and once after all
    blocks."""
    stem: int
    """Number of hidden states that exist while the first hidden state is computed, with itself."""


def architecture(manifest: Manifest, hidden: int) -> Architecture:
    """The architecture by names and shapes in block 0 and the stem. What these do not show is assumed to be as usual.

    `hidden`: H.
    """
    block = [tensor for tensor in manifest.by_block[0] if not tensor.in_scope("lora")]  # of the layers themselves
    matrices = [tensor for tensor in block if len(tensor.shape) == 2]
    names = {tensor.name for tensor in block}
    widest = max(max(tensor.shape) for tensor in matrices or block)
    layers = {tensor.name.removesuffix(".weight") for tensor in matrices}
    norms = [t.name for t in block if len(t.shape) == 1 and t.name.removesuffix(".bias") not in layers]
    if sum(tensor.shape[0] == widest for tensor in matrices) > 1:
        nonlinearity: Nonlinearity = "swiglu"
    elif any(".fc1." in name for name in names):
        nonlinearity = "relu"
    else:
        nonlinearity = "written-out gelu" if any(".c_fc." in name for name in names) else "gelu"

    def rows(*kinds: str) -> float:
        sizes = [t.shape[0] for t in matrices if t.name.removesuffix(".weight").endswith(kinds)]
        return (sizes[0] if sizes else hidden) / hidden

    tables = sum(len(tensor.shape) == 2 for tensor in manifest.by_block.get(EMBEDDINGS, ()))
    return Architecture(
        inner=widest / hidden,
        query=rows("q_proj", "query"),
        value=rows("v_proj", "value"),
        nonlinearity=nonlinearity,
        rms=bool(norms) and not any(name.endswith(".bias") for name in norms),
        post_norm=FINAL_NORM not in manifest.by_block,
        # OPT's and BERT's positions come as [B, T, H], GPT-2's as [1, T, H]: tokens, positions and their sum.
        stem=1 if tables <= 1 else 2 if nonlinearity == "written-out gelu" else 3,
    )


@dataclass(frozen=True)
class Activations:
    """Bytes of activations, for one architecture, batch and compute dtype."""

    shape: Architecture
    work: Workload
    size: int
    """s."""
    packed_head: bool = False
    """Whether the matrix of a head over the vocabulary is packed (`models.packed_rows`)."""

    @property
    def hidden(self) -> float:
        """h in bytes."""
        return self.work.tokens * self.work.hidden * self.size

    def inputs(self, batches: int, masks: int) -> float:
        """Bytes of `batches` copies of the token ids and mask (int64), and of `masks` of the attention mask
        [B, 1, T, T] (one byte) with the position ids (int64).

        With packed tokens: of the batch as it is, of the packed one with its position ids, of where its tokens are, and
        of one attention mask, which is the same for one sign and two.
        """
        work = self.work
        whole = work.batch_size * work.length
        if not work.packed:
            return whole * (16 * batches + (8 + work.length) * masks)
        further = whole - work.batch_size * work.shared
        places = 16 * work.tokens + 17 * further
        return 16 * whole + 24 * batches * work.tokens + places + self._packed_mask()

    def _packed_mask(self) -> int:
        """Elements of the attention mask of a packed batch: [B, 1, T − P, T] where padding must be told, else of one
        row; none where rows are causal and share nothing."""
        work = self.work
        row = (work.length - work.shared) * work.length
        if work.unpadded and (work.shared or self.shape.post_norm):
            return work.batch_size * row
        return row if work.shared else 0

    def norm(self) -> float:
        """Peak of a norm above its input, in h.

        A layer norm is one operator, with its output: 1. For a 16-bit input and fp32 weights, the input is first copied
        to fp32, and the output is fp32: 2 · 4/s. An RMS norm is several operators: the input in fp32 and its product
        with the root, 2 · 4/s; for a 16-bit input also the product with the fp32 weight, 4/s.
        """
        fp32, mixed = 4 / self.size, self.size < 4
        if self.shape.rms:
            return 2 * fp32 + (fp32 if mixed else 0.0)
        return 2 * fp32 if mixed else 1.0

    def block(self, both: bool = False) -> float:
        """Peak of a block's forward pass above its input, in h: the largest of three moments.

        - In the attention: the norm's output, 1; and the tensors of the projections and of the rotation of queries and
          keys (RMS models), or queries, keys, values and the result. With shared tokens also the keys and values of
          whole rows, `rows` h each; where padding is left out, queries too.
        - In the feed-forward layer: the hidden state after the attention, 1; the norm's output if it is still held;
          and as many of the widest tensors as the nonlinearity has at once.
        - In the second norm: before the layer, the hidden state after the attention, 1. After the layer (BERT), that
          state, the layer's output and their sum, 3, and the widest tensor, which is still held.

        Args:
            both: it runs on two signs at once. With shared tokens that takes copies of the rows' queries and the mask.
        """
        a, work = self.shape, self.work
        rows = work.batch_size * work.length / work.tokens  # tokens of whole rows for each one that is computed
        further = work.batch_size * (work.length - work.shared) / work.tokens
        mask = further * work.length / work.hidden  # [B, 1, T, T] in one byte of s · H per token
        if work.packed:
            mask = self._packed_mask() / (work.tokens * work.hidden)
        joined = 2 * rows * a.value if work.packed else 0.0
        if work.unpadded or (work.shared and both):
            joined += further * a.query
        if both and work.unpadded:
            joined += mask / self.size
        if a.rms:
            repeated = a.query if a.value < a.query else 0.0  # keys and values for all query heads
            at_product = 2 * a.query + 2 * a.value + joined + 2 * rows * repeated + mask
            attention = 1 + max(4 * a.query + 2 * a.value, at_product)
        else:
            attention = 1 + 4 * a.query + max(joined + mask, 1)
        # OPT frees the norm's output before the nonlinearity; GPT-2 also keeps the output of the attention's norm.
        norm_outputs = {"relu": 0, "gelu": 0 if a.post_norm else 1, "written-out gelu": 2, "swiglu": 1}[a.nonlinearity]
        wide = {"relu": 2, "gelu": 2, "written-out gelu": 4, "swiglu": 3}[a.nonlinearity]
        feed = 1 + norm_outputs + wide * a.inner
        normed = a.inner + 3 + self.norm() if a.post_norm else 1 + self.norm()
        return max(attention, feed, normed)

    def logits(self) -> float:
        """Bytes of a head for one sign: the hidden states that it reads, its logits in fp32, and their log-softmax.

        A packed head over the vocabulary holds, before they are fp32, the logits in the compute dtype, some of its rows
        and their logits. The rows of label words are copied once, and are never packed.
        """
        work, size = self.work, self.size
        by_row = max(work.most_rows, work.batch_size)
        rows = by_row if work.positions == 1 else work.batch_size * (work.positions - 1)
        logits = 8 * work.logits * rows
        if self.packed_head and (work.positions > 1 or work.written):
            logits = max(logits, size * (work.logits * rows + min(AT_ONCE, work.logits) * (work.hidden + rows)))
        return rows * work.hidden * size + logits

    def decoding(self, blocks: int) -> tuple[int, int]:
        """Bytes of (activations, logits) at the peak of writing answers at one sign, copies of active blocks left out:
        in a block that reads the prompts, in one that reads the last token, or at the head.

        Keys and values of all blocks are kept: 2 `value` per block, of the prompts or of the whole texts but for their
        last token. The embedded prompts are held too, 1, beside a block's input, 1. A block that reads a token makes
        its keys longer, the old ones beside the new, and repeats both where query heads share them. A model whose cache
        cannot be used reads whole texts anew instead.

        Args:
            blocks: L.
        """
        a, work = self.shape, self.work
        whole = (work.length + work.written - 1) / work.length
        prompts, texts = (2 * a.value * blocks * part for part in (1.0, whole))
        repeated = 2 * a.query if a.value < a.query else 0.0
        token = whole * (a.value + repeated) + self.block() / work.length
        anew = whole * (2 + self.block())
        body = self.hidden * max(prompts + 2 + self.block(), texts + token, anew) + self.inputs(2, 2) * whole
        head, logits = self.hidden * (texts + 1) + self.inputs(2, 1) * whole, self.logits()
        return (round(head), round(logits)) if head + logits > body else (round(body), 0)

    def peak(self, doubled: bool, several: bool) -> tuple[int, int]:
        """(activations, logits) in bytes at the peak of a forward pair: in a block, at the final norm, or at the head.

        Two things are held all the time: the prefix [B], 1, and the doubled batch [2B], 2. After an active block, its
        two halves are held until the next active block ends, 2. Token ids and masks are those of the batch and of the
        doubled batch, 3, and so are attention masks. A last block that answers for some tokens alone needs less: that
        is not counted.

        - An active block runs on [B]. While it runs for the second sign, the result of the first sign is held, 1.
        - A frozen block after the first active one runs on [2B].
        - The embeddings (and BERT's norm of them) make the first hidden state of the doubled batch.
        - The final norm runs on [2B].
        - The head runs on one sign at a time.

        Args:
            doubled: there is a frozen block after the first active one.
            several: more than one block is active.
        """
        norm = 2 * self.norm()
        active = 1 + 2 + 2 * several + 1 + self.block()
        frozen = 1 + 2 + 2 + 2 * self.block(both=True) if doubled else 0.0
        in_blocks = self.hidden * max(active, frozen) + self.inputs(3, 3)
        at_stem = 1 + 2 * self.shape.stem + (norm if self.shape.post_norm else 0.0)
        at_norm = 1 + 2 + (0.0 if self.shape.post_norm else norm)
        body = max(in_blocks, self.hidden * at_stem + self.inputs(3, 4), self.hidden * at_norm + self.inputs(3, 3))
        head, logits = self.hidden * (1 + 2) + self.inputs(3, 3), self.logits()
        return (round(head), round(logits)) if head + logits > body else (round(body), 0)
