"""What memory depends on beside the weights: the batch, how blocks are made, and the hidden states of a forward pair.

The model is ours (algorithm.md §6). Unit: h = N·H·s bytes, one hidden state of one sign in the compute dtype of s
bytes; N = B·T tokens, or P + B·(T − P) where rows share their first P. A tensor of fp32 is 4/s h, the widest layer
inside a block `inner` h, the queries `query` h. Nothing is saved for a backward pass: a tensor dies when it was read.
Each line was read off the operators that transformers runs; `count` is the judge.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM
from zorba_ray.errors import ModelError
from zorba_ray.models import Manifest

_HIDDEN = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim")
"""Names that architectures give to the width of a hidden state."""
Nonlinearity = Literal["relu", "gelu", "written-out gelu", "swiglu"]


@dataclass(frozen=True)
class Workload:
    """Sizes of a batch and of what a head computes from it."""

    batch_size: int
    """B, rows of one sign."""
    length: int
    """T."""
    hidden: int
    """H."""
    logits: int
    """C: logits per counted position (label words, label prompts, or the vocabulary)."""
    positions: int
    """Counted positions per row: 1 for a label, T for a next-token loss; for options one more than the longest has."""
    most_rows: int = 0
    """Most rows of a batch that is limited by tokens, of which `batch_size` rows of T tokens are the largest; 0: B."""
    written: int = 0
    """Most tokens that are written behind a prompt of T, where answers are judged as texts; 0: losses are."""
    shared: int = 0
    """P, first tokens of all rows that are computed once."""

    @property
    def tokens(self) -> int:
        """N, computed tokens of one sign."""
        return self.batch_size * (self.length - self.shared) + self.shared


def workload_of(settings: Any, label: str, batch_size: int, length: int, labels: int | None) -> Workload:
    """The workload of a model of these transformers settings.

    Args:
        label: `model.path`, for messages.
        labels: C of a label head; None: the loss of a language model, over the vocabulary.

    Raises:
        ModelError: the settings do not say how wide a hidden state is.
    """
    text = settings.get_text_config()
    widths = (getattr(text, name, None) for name in _HIDDEN)
    hidden = next((width for width in widths if isinstance(width, int) and width > 0), None)
    if hidden is None:
        raise ModelError(
            f"model.path={label}: the settings of {type(settings).__name__} do not say how wide a hidden state is "
            f"({', '.join(_HIDDEN)}), so that memory cannot be modelled; take another model"
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
    """How a block is made. Widths are multiples of the hidden width H."""

    inner: float
    """Widest layer inside a block."""
    query: float
    """All query heads."""
    value: float
    """All value heads: less than `query` where heads share them."""
    nonlinearity: Nonlinearity
    """Of the feed-forward layer: OPT's, BERT's, GPT-2's (five operators), or Llama's with gate and up projection."""
    rms: bool
    """RMS norms, written out in fp32, or fused layer norms."""
    post_norm: bool
    """Norms stand behind attention and feed-forward layer, as in BERT, or before them and once behind all blocks."""
    stem: int
    """Hidden states that making the first one takes, that one included."""


def architecture(manifest: Manifest, hidden: int) -> Architecture:
    """Names and shapes of block 0 and of the stem; what they do not tell is taken from the common case.

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
    """For one architecture, batch and compute dtype."""

    shape: Architecture
    work: Workload
    size: int
    """s."""

    @property
    def hidden(self) -> float:
        """h in bytes."""
        return self.work.tokens * self.work.hidden * self.size

    def inputs(self, batches: int, masks: int) -> float:
        """Bytes of `batches` copies of the token ids and mask (int64), and of `masks` of the attention mask
        [B, 1, T, T] (one byte) with the position ids (int64).

        With shared tokens: of the batch as it is, of the packed one with its position ids, and of the attention mask
        [B, 1, T − P, T], which is the same for one sign and two.
        """
        work = self.work
        whole = work.batch_size * work.length
        if not work.shared:
            return whole * (16 * batches + (8 + work.length) * masks)
        own = whole - work.batch_size * work.shared
        return 16 * whole + 24 * batches * work.tokens + own * work.length * (masks + 1) // 2

    def norm(self) -> float:
        """Peak of a norm above its input, in h.

        A layer norm is one kernel: its output, 1; beside fp32 weights a 16-bit input is copied to fp32 first, and the
        output is fp32: 2 · 4/s. An RMS norm is written out: the input in fp32 and its product with the root, 2 · 4/s;
        beside fp32 weights, of a 16-bit input, the product with the weight too, 4/s.
        """
        fp32, mixed = 4 / self.size, self.size < 4
        if self.shape.rms:
            return 2 * fp32 + (fp32 if mixed else 0.0)
        return 2 * fp32 if mixed else 1.0

    def block(self, both: bool = False) -> float:
        """Peak of a block's forward above its input, in h: the largest of three moments.

        - attention: the norm's output, 1, and what stands at the projections and the rotation of queries and keys (RMS
          models), or queries, keys, values and the result; with shared tokens beside that the keys and values of whole
          rows, of `rows` h each;
        - feed-forward layer: the hidden state in the middle, 1; the norm's output where it is still held; the widest
          tensors, as many as the nonlinearity has at once;
        - the norm before the layer, beside the middle, 1; or behind it (BERT), beside the middle, the layer's output
          and their sum, 3, and the widest tensor, which is still held.

        Args:
            both: it runs on two signs at once, which with shared tokens takes copies of the own queries and the mask.
        """
        a, work = self.shape, self.work
        rows = work.batch_size * work.length / work.tokens  # tokens of whole rows for each one that is computed
        own = work.batch_size * (work.length - work.shared) / work.tokens
        mask = own * work.length / work.hidden  # [B, 1, T, T] in one byte of s · H per token
        joined = 2 * rows * a.value if work.shared else 0.0
        if work.shared and both:
            joined += own * a.query + mask / self.size
        if a.rms:
            repeated = a.query if a.value < a.query else 0.0  # keys and values for all query heads
            at_product = 2 * a.query + 2 * a.value + joined + 2 * rows * repeated + mask
            attention = 1 + max(4 * a.query + 2 * a.value, at_product)
        else:
            attention = 1 + 4 * a.query + joined + max(mask, 1)
        # OPT drops the norm's output before the nonlinearity; GPT-2 keeps that of attention's norm too.
        kept = {"relu": 0, "gelu": 0 if a.post_norm else 1, "written-out gelu": 2, "swiglu": 1}[a.nonlinearity]
        wide = {"relu": 2, "gelu": 2, "written-out gelu": 4, "swiglu": 3}[a.nonlinearity]
        feed = 1 + kept + wide * a.inner
        normed = a.inner + 3 + self.norm() if a.post_norm else 1 + self.norm()
        return max(attention, feed, normed)

    def logits(self) -> float:
        """Bytes of a head at one sign: the hidden states that it reads, its logits in fp32, and their log-softmax."""
        by_row = max(self.work.most_rows, self.work.batch_size)
        rows = by_row if self.work.positions == 1 else self.work.batch_size * (self.work.positions - 1)
        return rows * (self.work.hidden * self.size + 8 * self.work.logits)

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
        """Bytes of (activations, logits) at the peak of a forward pair: in a block, at the final norm, or at the head.

        The kept prefix [B], 1, and the doubled batch [2B], 2, stand all along; once an active block has run, so do its
        two halves until the next one ends, 2. Token ids and masks are those of the batch and of the doubled batch, 3;
        attention masks too, and at the norm those of the embeddings' pass, 2 more.

        - an active block runs on [B], the second sign beside the result of the first, 1, above its input;
        - a frozen block behind the first active one runs on [2B];
        - the final norm (or that of BERT's embeddings) runs on [2B] beside what made the doubled batch's first state;
        - the head runs on one sign at a time.

        Args:
            doubled: a frozen block lies behind the first active one.
            several: more than one block is active.
        """
        norm = 2 * self.norm()
        active = 1 + 2 + 2 * several + 1 + self.block()
        frozen = 1 + 2 + 2 + 2 * self.block(both=True) if doubled else 0.0
        in_blocks = self.hidden * max(active, frozen) + self.inputs(3, 3)
        at_norm = self.hidden * (1 + 2 + 2 + 2 * self.shape.stem + norm) + self.inputs(3, 5)
        body = max(in_blocks, at_norm)
        head, logits = self.hidden * (1 + 2) + self.inputs(3, 3), self.logits()
        return (round(head), round(logits)) if head + logits > body else (round(body), 0)
