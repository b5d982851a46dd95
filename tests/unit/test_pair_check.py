"""The pair check passes what is right, and refuses every way in which the engine or a model can be wrong."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.pair_checks import PAIRS, batches, check, checked_model
from tests.support.tiny_models import HIDDEN, KINDS, TinyTokenizer, tiny_loaded, tiny_network
from zorba_ray.errors import ModelError
from zorba_ray.models import LoadedModel, Scope, TensorEntry, heads, loaded_model
from zorba_ray.models.heads import Batch
from zorba_ray.models.pair_check import PairPath
from zorba_ray.models.paired import PairedBackbone
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.perturbed_tensors import PerturbedTensors


@pytest.mark.parametrize("kind", KINDS)
def test_right_pairs_pass(kind: str) -> None:
    """Evaluation on 2 batches; 4 sets × 2 batches × 2 signs."""
    verdict = check(checked_model(tiny_loaded(kind)))
    assert verdict.largest <= 1e-5
    assert verdict.compared == 2 + 16


@pytest.mark.parametrize(
    ("kind", "scope", "path"),
    [
        *(("opt", scope, PAIRS) for scope in ("matrices", "bias_norm", "attention", "feed_forward", "norm_weights")),
        ("llama", "all", PairPath(1, False, "rademacher")),
        ("llama", "all", PairPath(1, True, "gaussian")),
        ("llama", "all", PairPath(2, True, "rademacher")),
        ("llama", "all", None),
    ],
    ids=str,
)
def test_scopes_and_paths_pass(kind: str, scope: Scope, path: PairPath | None) -> None:
    assert check(checked_model(tiny_loaded(kind), scope), path).largest <= 1e-5


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "bert"])
@pytest.mark.parametrize("how", [{"rank": 2}, {"sixteen_bits": True}, {"rank": 2, "sixteen_bits": True}], ids=str)
def test_low_rank_and_sixteen_bits_pass(kind: str, how: dict[str, Any]) -> None:
    verdict = check(checked_model(tiny_loaded(kind), "matrices", **how))
    assert verdict.largest <= verdict.allowed
    if "sixteen_bits" not in how:
        assert verdict.largest <= 1e-5


def test_the_lm_head_passes() -> None:
    assert check(checked_model(tiny_loaded("llama"), head="lm"), head="lm").largest <= 1e-5


def test_a_check_leaves_the_model_as_it_was() -> None:
    """θ, its places and every module's forward: a second check and an evaluation give the same bits."""
    model = checked_model(tiny_loaded("qwen2"))
    before, loss = model.replica.digest(), model.evaluate(batches(model))
    first = check(model)
    assert model.replica.digest() == before
    assert model.evaluate(batches(model)) == loss
    assert check(model) == first
    assert all(
        model.loaded.network.get_parameter(n).data_ptr() == t.data_ptr() for n, t in model.replica.parameters.items()
    )


def _move_changed(patch: pytest.MonkeyPatch, change: Callable[[Perturbation], Perturbation]) -> None:
    plain = PerturbedTensors.at
    patch.setattr(PerturbedTensors, "at", lambda self, move, *rest: plain(self, change(move), *rest))


class _Wrong:
    """Mutations of the engine: each makes scalars of another model."""

    @staticmethod
    def swapped_sign(patch: pytest.MonkeyPatch) -> None:
        plain = PerturbedTensors.at
        patch.setattr(
            PerturbedTensors, "at", lambda self, move, signs, *rest: plain(self, move, tuple(-s for s in signs), *rest)
        )

    @staticmethod
    def missing_block(patch: pytest.MonkeyPatch) -> None:
        plain = PairedBackbone.prepare

        def prepare(self: PairedBackbone, batch: Batch, inputs: Any, active: frozenset[int], *rest: Any) -> Any:
            return plain(self, batch, inputs, active - {max(active)} or active, *rest)

        patch.setattr(PairedBackbone, "prepare", prepare)

    @staticmethod
    def mask_off_by_one(patch: pytest.MonkeyPatch) -> None:
        plain = PairedBackbone.prepare

        def prepare(self: PairedBackbone, batch: Batch, inputs: dict[str, torch.Tensor], *rest: Any) -> Any:
            mask = inputs["attention_mask"].clone()
            mask[:, :-1] *= inputs["attention_mask"][:, 1:]
            return plain(self, batch, {**inputs, "attention_mask": mask}, *rest)

        patch.setattr(PairedBackbone, "prepare", prepare)

    @staticmethod
    def label_read_one_too_early(patch: pytest.MonkeyPatch) -> None:
        plain = heads.last_positions
        patch.setattr(heads, "last_positions", lambda mask: plain(mask) - 1)

    @staticmethod
    def another_direction(patch: pytest.MonkeyPatch) -> None:
        _move_changed(patch, lambda move: dataclasses.replace(move, direction=7))

    @staticmethod
    def scale_twice(patch: pytest.MonkeyPatch) -> None:
        _move_changed(patch, lambda move: dataclasses.replace(move, scale=2 * move.scale))

    @staticmethod
    def one_tensor_left_out(patch: pytest.MonkeyPatch) -> None:
        plain = PerturbedTensors._perturb

        def perturb(self: PerturbedTensors, target: torch.Tensor, entry: Any) -> None:
            if entry.name.endswith("v_proj.weight"):
                target.copy_(self._at(entry))
            else:
                plain(self, target, entry)

        patch.setattr(PerturbedTensors, "_perturb", perturb)

    @staticmethod
    def cache_kept(patch: pytest.MonkeyPatch) -> None:
        """Keys of the first sign stay for the second."""
        plain = PairedBackbone._apply
        kept: dict[int, torch.Tensor] = {}

        def apply(self: PairedBackbone, index: int, hidden: torch.Tensor, batch: Any) -> torch.Tensor:
            answer = plain(self, index, hidden, batch)
            first = kept.setdefault(index, answer)
            return 0.5 * (answer + first) if first.shape == answer.shape else answer

        patch.setattr(PairedBackbone, "_apply", apply)

    @staticmethod
    def prefix_of_another_block(patch: pytest.MonkeyPatch) -> None:
        plain = PairedBackbone.prepare

        def prepare(self: PairedBackbone, batch: Batch, inputs: Any, active: frozenset[int], *rest: Any) -> Any:
            made = plain(self, batch, inputs, active, *rest)
            later = min(made.first + 1, 4)
            return dataclasses.replace(made, first=later) if later in made.calls else made

        patch.setattr(PairedBackbone, "prepare", prepare)


@pytest.mark.parametrize("mutation", [name for name in vars(_Wrong) if not name.startswith("_")])
def test_a_mutation_of_the_engine_is_refused(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    getattr(_Wrong, mutation)(monkeypatch)
    model = checked_model(tiny_loaded("llama"))
    with pytest.raises(ModelError, match=r"not the model's own.*rounding|with the tensor hidden nan"):
        check(model)


def test_a_refusal_names_block_tensor_and_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    _Wrong.one_tensor_left_out(monkeypatch)
    with pytest.raises(ModelError) as caught:
        check(checked_model(tiny_loaded("llama")))
    text = str(caught.value)
    assert "block 0: model.layers.0.self_attn.v_proj.weight is not perturbed" in text
    assert "plain model" in text
    assert "zo.scope" in text


def _tampered(change: Callable[[Any], None]) -> LoadedModel:
    network = tiny_network("llama")
    change(network)
    return loaded_model(network, TinyTokenizer(0), True, "tampered")


def _norm_reads_a_block(network: Any) -> None:
    plain, weight = network.model.norm.forward, network.model.layers[1].mlp.up_proj
    network.model.norm.forward = lambda x: plain(x) * (1.0 + weight.weight.mean())


def test_a_tensor_that_is_read_outside_its_block_is_refused() -> None:
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight is read outside its block"):
        checked_model(_tampered(_norm_reads_a_block))


def test_poison_finds_what_the_trace_did_not_see() -> None:
    loaded = _tampered(_norm_reads_a_block)
    blind = dataclasses.replace(loaded, trace=dataclasses.replace(loaded.trace, elsewhere=()))
    with pytest.raises(ModelError, match=r"block 1: model\.layers\.1\.mlp\.up_proj\.weight is read outside") as caught:
        check(checked_model(blind))
    assert "nan" in str(caught.value)


def test_a_state_that_a_module_hides_is_refused() -> None:
    """A block that remembers its last answer: no argument shows it, the numbers do."""

    def remember(network: Any) -> None:
        block = network.model.layers[2]
        plain, kept = block.forward, []

        def forward(x: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
            answer = plain(x, *rest, **named)
            if kept and kept[0].shape == answer.shape:
                answer = answer + 0.1 * kept[0]
            kept[:] = [answer]
            return answer

        block.forward = forward

    with pytest.raises(ModelError):
        check(checked_model(_tampered(remember)))


class _Keys(nn.Module):
    """Leaves its keys in a dict that the next block reads."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden_states: torch.Tensor, shared: dict[str, torch.Tensor], **named: Any) -> torch.Tensor:
        answer = self.inner(hidden_states, **named)
        answer = answer + 0.2 * shared.get("keys", torch.zeros(()))
        shared["keys"] = answer
        return answer


def test_state_that_blocks_share_beside_the_hidden_state_is_right() -> None:
    """Two whole forward passes, each with its own dict."""
    network = tiny_network("llama")
    network.model.layers = nn.ModuleList([_Keys(layer) for layer in network.model.layers])
    plain = network.model.forward

    def forward(*args: Any, **named: Any) -> Any:
        return plain(*args, **named, shared={})

    network.model.forward = forward
    loaded = loaded_model(network, TinyTokenizer(0), True, "shared keys")
    assert not loaded.trace.chained
    assert "state" in loaded.trace.why_not
    assert check(checked_model(loaded)).largest <= 1e-5


def test_a_model_that_changes_its_weights_as_it_runs_is_refused() -> None:
    """RWKV divides some by powers of two in its first forward pass."""

    def halve_once(network: Any) -> None:
        block = network.model.layers[1]
        plain, done = block.forward, []

        def forward(*args: Any, **named: Any) -> torch.Tensor:
            if not done:
                done.append(block.mlp.up_proj.weight.div_(2.0))
            return plain(*args, **named)

        block.forward = forward

    with pytest.raises(
        ModelError, match=r"model\.path=tampered: .* changes the weights model\.layers\.1\.mlp\.up_proj"
    ):
        _tampered(halve_once)


def test_products_of_two_dtypes_are_computed_in_sixteen_bits() -> None:
    """A vector lifts the hidden state, and the block's own code multiplies it with a matrix."""

    def multiply(network: Any) -> None:
        for layer in network.model.layers:
            plain, scale = layer.mlp.forward, torch.full((HIDDEN,), 1.5)

            def forward(x: torch.Tensor, plain: Any = plain, layer: Any = layer, scale: Any = scale) -> torch.Tensor:
                return plain(x) + 0.1 * torch.matmul(scale * x, layer.self_attn.q_proj.weight.T)

            layer.mlp.forward = forward

    verdict = check(checked_model(_tampered(multiply), sixteen_bits=True))
    assert verdict.largest <= verdict.allowed
    assert check(checked_model(_tampered(multiply))).largest <= 1e-5


def test_another_error_in_a_block_is_not_hidden() -> None:
    model = checked_model(tiny_loaded("llama"), sixteen_bits=True)
    plain = model.loaded.network.model.layers[1].mlp.act_fn.forward
    calls = []

    def fail(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        raise torch.OutOfMemoryError("no room for this type of tensor")

    model.loaded.network.model.layers[1].mlp.act_fn.forward = fail
    with pytest.raises(ModelError, match="no room for this type"):
        check(model)
    assert len(calls) == 1
    model.loaded.network.model.layers[1].mlp.act_fn.forward = plain
    assert check(model).compared


def test_a_scope_that_moves_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys' biases cancel in a softmax: their scalars would be rounding alone."""
    monkeypatch.setattr(TensorEntry, "in_scope", lambda entry, scope: entry.name.endswith("k_proj.bias"))
    with pytest.raises(ModelError, match="no perturbation moves the loss"):
        check(checked_model(tiny_loaded("opt"), "biases"))
