"""Bytes of hidden states and of what a block makes of them, in closed form. The model is ours (algorithm.md §6).

Unit: h = B·T·H·s bytes, one hidden state of one sign in the compute dtype of s bytes; widths i, q, v are multiples of
H. Each line below was checked against the count, operator by operator; `counted` is the judge.
"""

from dataclasses import dataclass
from typing import Literal

from zorba_ray.memory.architecture import Architecture
from zorba_ray.memory.workload import Workload
from zorba_ray.models.lora import Targets

Layers = Literal["none", "attention", "feed_forward", "all"]


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
        return self.work.batch_size * self.work.length * self.work.hidden * self.size

    @property
    def _wide(self) -> float:
        """An fp32 copy of h, in h; nothing is copied where the compute dtype is fp32."""
        return 4 / self.size if self.size < 4 else 0.0

    def inputs(self, batches: int, masks: int) -> float:
        """Bytes of `batches` copies of the token ids and mask (int64), and of `masks` of the attention mask
        [B, 1, T, T] (one byte) with the position ids."""
        return self.work.batch_size * self.work.length * (16 * batches + (8 + self.work.length) * masks)

    def norm(self, mixed: bool) -> float:
        """Peak of a norm above its input, in h. `mixed`: fp32 vectors beside 16-bit hidden states."""
        if not self.shape.rms:
            return 2 * self._wide if mixed and self._wide else 1.0
        fp32 = 4 / self.size
        return 2 * fp32 + (self._wide if mixed else 0.0)

    def forward(self, mixed: bool) -> float:
        """Peak of a block's forward above its input, in h, with nothing saved for a backward pass."""
        a = self.shape
        mask = self.work.length / self.work.hidden
        if a.rms:
            shared = a.query if a.value < a.query else 0.0
            attention = 1 + max(4 * a.query + 2 * a.value, 2 * a.query + 2 * a.value + 2 * shared + mask)
        else:
            attention = 1 + 4 * a.query + max(mask, 1)
        # Beside the hidden state in the middle: the norm's output, which OPT drops; GPT-2 keeps that of attention too.
        kept = {"relu": 0, "gelu": 0 if a.post_norm else 1, "written-out gelu": 2, "swiglu": 1}[a.nonlinearity]
        wide = {"relu": 2, "gelu": 2, "written-out gelu": 4, "swiglu": 3}[a.nonlinearity]
        feed = 1 + kept + wide * a.inner
        normed = a.inner + 3 + self.norm(mixed) if a.post_norm else 1 + self.norm(mixed)
        return max(attention, feed, normed)

    def adapted_attention(self, rank: int, targets: Targets) -> float:
        """Peak of attention with adapters above a block's input, in h, with nothing saved: at the last projection that
        has one A x, or what is added to the projection, stands beside it and those before."""
        beside = {"query": 1, "query_value": 3}.get(targets, 5)
        return beside + (0 if self.shape.post_norm else 1) + max(1.0, rank / self.work.hidden)

    def saved(self, layers: Layers, norms: bool) -> float:
        """What a block keeps for its backward pass, in h.

        Args:
            layers: linear layers with trained weights, or with trained adapters; A x apart.
            norms: whether weights of norms are trained.
        """
        a = self.shape
        # An input of a layer is kept for the gradient of its weight; a nonlinearity keeps its input, a ReLU its output.
        own = {"relu": 1, "gelu": 1, "written-out gelu": 4, "swiglu": 3}[a.nonlinearity]
        wide = own + (1 if layers in ("feed_forward", "all") and a.nonlinearity != "relu" else 0)
        below = self.saved_attention(layers in ("attention", "all"), norms)
        return below + self.normed(norms) + (1 if layers in ("feed_forward", "all") else 0) + wide * a.inner

    def saved_attention(self, read: bool, norms: bool) -> float:
        """The part of `saved` that is attention's and its norm's. `read`: its layers' input is kept."""
        a = self.shape
        keys = a.query if a.value < a.query else a.value
        lines = 4 * self.work.heads / (self.work.hidden * self.size)  # log-sum-exp of attention
        mask = self.work.length / self.work.hidden
        return self.normed(norms) + read + 2 * a.query + 2 * keys + lines + mask

    def normed(self, norms: bool) -> float:
        """What a norm keeps, in h, its output apart."""
        return 4 / self.size + (1 if norms else 0) if self.shape.rms else 1.0

    def backward(self, freed: bool) -> float:
        """Gradients of hidden states at the start of the backward pass, in h. `freed`: a GELU's output was kept for the
        weight that read it, and dies before the gradient of the GELU's input is there."""
        wide = {"relu": 2, "gelu": 1 if freed else 2, "written-out gelu": 3, "swiglu": 3}[self.shape.nonlinearity]
        return max(1 + wide * self.shape.inner, 6 * 4 / self.size if self.shape.rms else 0.0)

    def logits(self, backward: bool) -> float:
        """Bytes of a head's logits in fp32 with their log-softmax; of their gradients too."""
        positions = max(1, self.work.positions - 1)
        rows = self.work.batch_size * positions
        gathered = rows * self.work.hidden * self.size
        return gathered + rows * self.work.logits * (12 if backward else 8)
