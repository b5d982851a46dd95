"""Embeddings and head that stay in int8 on the accelerator: the losses of a model whose stem was rounded so."""

from collections.abc import Callable

import pytest
import torch

from tests.support.pair_checks import check
from tests.support.tiny_models import KINDS, LABEL_WORDS, tiny_batch, tiny_loaded
from zorba_ray.config import ModelConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ModelError
from zorba_ray.formats import packed
from zorba_ray.models import HostStore, TaskModel
from zorba_ray.models.packed_rows import AT_ONCE, PackedRows
from zorba_ray.models.rounded import round_matrices

STORE = HostStore(torch.float32, True, False, "int8")


def model(kind: str, store: HostStore | None, head: str = "auto") -> TaskModel:
    """Rounded at the start, as a run does."""
    loaded = tiny_loaded(kind)
    round_matrices(loaded, "int8", blocks=False)
    config = ModelConfig.model_validate({"head": head, "temperature": 5.0})
    return TaskModel(loaded, config, "{text}", LABEL_WORDS, "all", cpu_directions("auto"), store=store)


@pytest.mark.parametrize("head", ["auto", "lm"])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_the_rounded_stem(kind: str, head: str) -> None:
    if head == "lm" and kind in ("bert", "roberta"):
        pytest.skip("an encoder has no output layer")
    batch = tiny_batch(kind, 4, 6)
    packed, rounded = (model(kind, store, head).evaluate([batch]).loss for store in (STORE, None))
    assert packed == pytest.approx(rounded, abs=1e-5)


@pytest.mark.parametrize("store", [STORE, HostStore(torch.bfloat16, True, True, "int8")], ids=["fp32", "bf16"])
def test_the_pair_check_runs_on_a_packed_stem(store: HostStore) -> None:
    check(model("llama", store))


def packed_rows(rows: int, columns: int) -> tuple[PackedRows, torch.Tensor]:
    """With the fp32 values that it stands for."""
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))
    made = PackedRows.of(
        packed(matrix.view(-1), (rows, columns), "int8"), (rows, columns), torch.float32, "embed.weight"
    )
    return made, made.rows(torch.arange(rows))


def test_a_product_takes_some_rows_at_a_time() -> None:
    """More rows than are unpacked at once, and a last part that is shorter."""
    made, values = packed_rows(AT_ONCE + 100, 8)
    x, bias = torch.randn(3, 5, 8), torch.randn(AT_ONCE + 100)
    torch.testing.assert_close(made.product(x, bias), torch.nn.functional.linear(x, values, bias))


@pytest.mark.parametrize(
    "use", [lambda rows: rows + 1, lambda rows: rows.sum(), lambda rows: rows @ torch.ones(4), lambda rows: rows.T]
)
def test_another_use_of_the_matrix_is_refused(use: Callable[[torch.Tensor], torch.Tensor]) -> None:
    made, _ = packed_rows(6, 4)
    with pytest.raises(ModelError, match=r"memory\.stem_format=int8: embed\.weight is read by"):
        use(made)


def test_a_stem_that_cannot_be_packed_is_named() -> None:
    loaded = tiny_loaded("llama")
    loaded.network.get_input_embeddings().weight[5, 1] = torch.nan
    with pytest.raises(ModelError, match=r"embed_tokens\.weight cannot be packed in int8"):
        round_matrices(loaded, "int8", blocks=False)
