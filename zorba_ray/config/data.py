"""Which examples there are, how they read as text, and which client holds which."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import PathText, StrictModel
from zorba_ray.config.template import TemplateText


class DataConfig(StrictModel):
    """Data set, prompt, partition and batches."""

    path: PathText = "builtin"
    """`builtin`, a folder with train/validation/test in parquet, JSONL or CSV, one such file, or a hub id; see
    docs/data.md."""
    revision: str | None = None
    """Commit, tag or branch of a hub id; None is the hub's default branch. A run keeps the commit."""
    prompt: TemplateText = "{text}"
    """Template of the model's input; fields in braces are names of text columns, as in "{premise} {hypothesis}"."""
    label_column: str = "label"
    """Column of the label: text equal to an entry of `label_words` or to a name in labels.json, or integers 0 … C−1.
    labels.json, beside the data, is ["negative", "positive"], {"negative": 0, "positive": 1} or {"0": "negative", …}. A
    number that is also a word at another position is refused, unless the whole column can only be one of them."""
    label_words: tuple[Annotated[str, Field(max_length=2_000)], ...] = Field(default=(), max_length=10_000)
    """One entry per label, in label order: a word for head `label_words`, a sentence for head `label_prompts`."""
    max_length: int = Field(default=128, ge=4)
    """Most tokens of an example. A longer one is cut: its longest column loses its end first. The words of the prompt
    and the special tokens stay."""
    batch_size: int = Field(default=16, ge=1, le=10**6)
    """Examples per forward pair; with `batch_tokens` at most so many."""
    batch_tokens: int | None = Field(default=None, ge=4, le=10**9)
    """Most tokens of a batch, its padding included, and what all rows begin with once: a batch of long rows has fewer
    rows, and needs no more memory. None: every batch has `batch_size` rows. The loss stays a mean over the rows of its
    batch, so that a long row counts for more than a short one; p_n stays the client's share of the rows."""
    partition: Literal["iid", "dirichlet", "label_shards", "quantity_skew", "column", "files"] = "iid"
    """`iid`: shuffled and dealt out. `dirichlet`: label shares per client drawn with `alpha`. `label_shards`: every
    client has `labels_per_client` labels. `quantity_skew`: shuffled, the number of rows per client drawn with `alpha`.
    `column`: the values of `partition_column` are dealt to the clients. `files`: one train-*.parquet (or .jsonl, .csv)
    file per client."""
    alpha: float = Field(default=1.0, gt=0)
    """Concentration of the Dirichlet draws of partition=dirichlet and partition=quantity_skew; small is uneven."""
    labels_per_client: int = Field(default=2, ge=1)
    """Labels of each client, for partition=label_shards."""
    partition_column: str | None = None
    """Column that names the owner of each training example, as it stands, for partition=column; none may be empty."""
    train_rows: int | None = Field(default=None, ge=1)
    """Use only this many training examples (a seeded sample); None is all."""
    label_shift: float = Field(default=0.0, ge=0, le=1)
    """κ, a correction for clients with unequal shares of the labels; 0 is none, 1 takes the difference out. In training
    a client adds κ · log(share of the label in its own examples / share in all clients' examples) to the label's logit
    (shares of counts + 1), so that its frequent labels pull the model less. At 1 a client with one label teaches
    nothing. Every client must know the label counts of the federation. Evaluation has no correction. Logit adjustment:
    Menon et al., ICLR 2021, arXiv 2007.07314; by client: FedLC, Zhang et al., ICML 2022, arXiv 2209.00189."""
    label_shift_schedule: Literal["constant", "linear"] = "constant"
    """`linear`: κ falls from `label_shift` in round 1 to 0 after the last round. The late rounds then compare labels
    that no client has together."""
    holdout: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the training rows that becomes validation (and test) where the source has none."""

    @property
    def most_tokens(self) -> int:
        """Of a batch."""
        tokens = self.batch_size * self.max_length
        return tokens if self.batch_tokens is None else min(tokens, self.batch_tokens)

    @model_validator(mode="after")
    def _labels_and_partition(self) -> "DataConfig":
        if len(set(self.label_words)) != len(self.label_words):
            raise ValueError(f"label_words {list(self.label_words)} must differ from each other")
        if len(self.label_words) == 1:
            raise ValueError("label_words needs at least two entries, one per label")
        if self.batch_tokens is not None and self.batch_tokens < self.max_length:
            raise ValueError(
                f"batch_tokens={self.batch_tokens} is less than max_length={self.max_length}: a single row may not "
                f"fit; raise batch_tokens to {self.max_length}, or lower max_length"
            )
        if self.partition == "column" and not self.partition_column:
            raise ValueError("partition=column needs data.partition_column")
        return self
