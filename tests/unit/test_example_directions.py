"""A direction for each example: losses, scalars and updates against twins that know no kernel and no shortcut."""

import contextlib
import copy
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.architecture_tables import MECHANISMS
from tests.support.architectures import is_causal, tiny
from tests.support.pair_checks import as_loaded, check, checked_model
from tests.support.tiny_models import BLOCKS, KINDS, LABEL_TOKENS, tiny_batch, tiny_network, tiny_task_model
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import direction_backend, direction_seed, tensor_stream
from zorba_ray.directions.reference import signs as drawn_signs
from zorba_ray.errors import ConfigError, ModelError, ReportRejected
from zorba_ray.experiment import prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.methods import build_method
from zorba_ray.models import Batch, Perturbation, TaskModel, example_steps
from zorba_ray.models.example_readers import ExampleReaders
from zorba_ray.models.example_steps import ExampleGroups
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.pair_check import PairPath
from zorba_ray.models.perturbed_tensors import PerturbedTensors
from zorba_ray.protocol.example_groups import compact, counts_section, groups_section
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import ClientReport, RoundPlan, Section
from zorba_ray.protocol.replay import rule_of, unpack_scalars
from zorba_ray.zo import Estimator, RoundUpdate, UpdateRule, apply_rounds, commit_terms, round_seeds

NUMPY = direction_backend("numpy")
ACTIVE = frozenset({1, 3})
SEED, SCALE = 0xABCDEF, 0.02
GROUPS = 5
"""Of a full batch; the batches here have fewer rows."""


def direction(entry: TensorEntry, number: int, seed: int = SEED) -> torch.Tensor:
    """z of one tensor: r sᵀ of a matrix, signs of a vector."""
    stream = tensor_stream(seed, entry.block, entry.slot, number, "rademacher")
    if len(entry.shape) == 1:
        return torch.from_numpy(drawn_signs(stream, 0, entry.numel))
    rows, columns = entry.shape[0], entry.numel // entry.shape[0]
    drawn = torch.from_numpy(drawn_signs(stream, 0, rows + columns))
    return torch.outer(drawn[:rows], drawn[rows:]).view(entry.shape)


def plain_losses(kind: str, model: TaskModel, batch: Batch, scope: Any, move: Perturbation, sign: float) -> list[float]:
    """Row by row: the direction of the row's group is written into an untouched network, which runs on all rows."""
    losses = []
    for row in range(len(batch)):
        network = tiny_network(kind)
        number = move.direction * move.groups + row // move.shared_by
        for block in ACTIVE:
            for entry in model.replica.manifest.scoped(block, scope):
                network.get_parameter(entry.name).add_(direction(entry, number), alpha=sign * move.scale)
        if kind in ("bert", "roberta"):
            hidden = network(input_ids=batch.ids_BT, attention_mask=batch.mask_BT)[0][row]
            pooled = hidden[batch.mask_BT[row].bool()].mean(dim=0)
            prompts = model.head._prompts_CH  # pyright: ignore[reportAttributeAccessIssue]
            logits = 5.0 * functional.cosine_similarity(pooled[None], prompts, dim=-1)
        else:
            answer = network(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits[row]
            logits = answer[int(batch.mask_BT[row].nonzero().max())][list(LABEL_TOKENS)]
        losses.append(float(functional.cross_entropy(logits, batch.labels_B[row])))
    return losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scope", "size", "signs"), [("all", 1, 2), ("all", 2, 1), ("bias_norm", 3, 2)])
def test_losses_are_those_of_each_examples_own_model(kind: str, scope: Any, size: int, signs: int) -> None:
    model, batch = tiny_task_model(kind, scope, rank=1, directions=direction_backend("numba")), tiny_batch(kind, 4, 7)
    move = Perturbation(SEED, 2, SCALE, "rademacher", shared_by=size, groups=GROUPS)
    found = model.example_losses(model.prepare(batch, ACTIVE, signs), move)
    count = -(-4 // size)
    assert found.shape == (signs, count)
    for losses, sign in zip(found, (1.0, -1.0), strict=False):
        rows = plain_losses(kind, model, batch, scope, move, sign)
        wanted = [sum(rows[start : start + size]) * count / 4 for start in range(0, 4, size)]
        assert losses == pytest.approx(wanted, abs=2e-6), sign


def test_next_token_losses_are_weighed_by_their_tokens() -> None:
    """The mean over the groups is the mean over all tokens, as of a batch with one direction."""
    model, batch = tiny_task_model("llama", head="lm", rank=1), tiny_batch("llama", 4, 7)
    still = Perturbation(SEED, 0, 0.0, "rademacher", shared_by=1, groups=GROUPS)
    found = model.example_losses(model.prepare(batch, ACTIVE, 1), still)[0]
    assert found.mean() == pytest.approx(model.evaluate([batch]).loss, rel=1e-6)
    logits = tiny_network("llama")(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits
    tokens = int(batch.mask_BT[:, 1:].sum())
    for row in range(4):
        length = int(batch.mask_BT[row].sum())
        own = functional.cross_entropy(logits[row, : length - 1], batch.ids_BT[row, 1:length], reduction="sum")
        assert found[row] == pytest.approx(float(own) * 4 / tokens, rel=1e-5)


@pytest.mark.parametrize("kind", ["opt", "llama", "bert"])
def test_a_still_pass_has_the_bits_of_a_perturbed_one(kind: str) -> None:
    """F_i(θ) comes from the kernels and shapes of F_i(θ + μz): a step too small for any weight changes no bit."""
    model, batch = tiny_task_model(kind, rank=1), tiny_batch(kind, 4, 7)
    prepared = model.prepare(batch, ACTIVE, 1)
    losses = [
        model.example_losses(prepared, Perturbation(SEED, 1, scale, "rademacher", shared_by=1, groups=GROUPS))
        for scale in (0.0, 1e-30)
    ]
    assert np.array_equal(losses[0], losses[1])


def test_rows_of_options_belong_to_their_example() -> None:
    options = Batch.of(
        np.zeros((5, 4), dtype=np.int64), np.ones((5, 4), dtype=np.int64), np.zeros(2, dtype=np.int64),
        options=[
            np.array([3, 7, 11, 15, 19]),
            np.array([[[0], [1], [2]], [[3], [4], [4]]]),
            np.zeros((2, 3, 1), dtype=np.int64),
            np.array([[[True], [True], [True]], [[True], [True], [False]]]),
        ],
    )  # fmt: skip
    assert ExampleGroups.of(options, 1).of_row.tolist() == [0, 0, 0, 1, 1]
    assert ExampleGroups.of(options, 2).of_row.tolist() == [0] * 5


def rule(**more: Any) -> UpdateRule:
    return UpdateRule(7, more.pop("seeds", "per_client"), "data", "rademacher", "all", 2, more.pop("steps", 1), (1, 3, 2), rank=1, groups=3, **more)  # fmt: skip  # noqa: E501


NAN = float("nan")
SCALARS = np.array(
    [[[0.5, -2.0, 1.0, 0.25, 0.75, -0.5]], [[1.5, 0.25, NAN, -1.0, 2.0, NAN]], [[3.0, NAN, NAN, -1.0, NAN, NAN]]],
    dtype=np.float32,
)
"""[n, K, P · G]: three clients, of which two have fewer groups."""


@pytest.mark.parametrize("seeds", ["per_client", "shared"])
def test_an_update_is_the_formula(seeds: Any) -> None:
    """Δθ = −η Σ_n w_n 1/(P G_n) Σ_{p,g} ρ_{n,p,g} z(p G + g), as a dense sum in float64."""
    own, model = rule(seeds=seeds), tiny_task_model("opt", rank=1)
    active = ActiveSets.of_sets([{0, 1}, {1, 2}, {1}], BLOCKS)
    before = {name: tensor.clone().double() for name, tensor in model.replica.parameters.items()}
    update = RoundUpdate(2, 0.01, np.arange(3), SCALARS, active)
    apply_rounds(direction_backend("numba"), own, model.replica.manifest, model.replica.parameters, [update])
    for entry in model.replica.manifest.moved("all"):
        clients = [client for client in range(3) if entry.block in active.of(client)]
        wanted = torch.zeros(entry.shape, dtype=torch.float64)
        for client in clients:
            weight = (1, 3, 2)[client] / sum((1, 3, 2)[other] for other in clients)
            seed = direction_seed(7, 2, client if seeds == "per_client" else 0, 0)
            there = [number for number in range(6) if np.isfinite(SCALARS[client, 0, number])]
            for number in there:
                step = -0.01 * weight * float(SCALARS[client, 0, number]) / len(there)
                wanted += step * direction(entry, number, seed).double()
        moved = (model.replica.parameters[entry.name].double() - before[entry.name]).view(entry.shape)
        assert (moved - wanted).norm() <= 1e-4 * wanted.norm(), entry.name


def test_shared_directions_are_one_term_for_all_clients() -> None:
    """Group g of every client has the same direction; so a commit has P · G terms."""
    update = RoundUpdate(2, 0.01, np.arange(3), SCALARS, ActiveSets.of_all(3, BLOCKS))
    own = rule(seeds="shared")
    terms = commit_terms(own, update, round_seeds(own, update), 0, 1)
    assert terms.directions.tolist() == [0, 1, 2, 3, 4, 5]
    raw = -0.01 * np.array([1, 3, 2])[:, None] / 6 * SCALARS[:, 0] / np.array([6, 4, 2])[:, None]
    assert terms.coefficients == pytest.approx(np.nansum(raw.astype(np.float64), axis=0), rel=1e-5)


def test_the_spread_is_that_of_reported_scalars() -> None:
    """Groups that a batch lacks do not count in the median."""
    update = RoundUpdate(2, 0.01, np.arange(3), SCALARS, ActiveSets.of_all(3, BLOCKS))
    own = rule(clip_spread=1.0)
    coefficients = commit_terms(own, update, round_seeds(own, update), 0, 1).coefficients
    bound = float(np.median(np.abs(SCALARS[np.isfinite(SCALARS)])))
    raw = -0.01 * np.array([1, 3, 2])[:, None] / 6 * np.clip(SCALARS[:, 0], -bound, bound) / [[6], [4], [2]]
    assert coefficients == pytest.approx(raw[np.isfinite(raw)], rel=1e-5)


@pytest.mark.parametrize("one_sided", [True, False])
def test_scalars_of_a_client_with_fewer_rows_than_groups(one_sided: bool) -> None:
    """Two local steps; the second from where the first one led, each divided by its own number of groups."""
    own, model = rule(steps=2), tiny_task_model("opt", rank=1)
    batches = [tiny_batch("opt", 5, 7, seed=0), tiny_batch("opt", 3, 7, seed=1)]
    estimator = Estimator(model, NUMPY, own, 0.02, 0.01, one_sided=one_sided, shared_by=2)
    scalars, loss = estimator.round(5, ActiveSets.of_sets([ACTIVE] * 3, BLOCKS), {1: batches})[1]
    assert np.isnan(scalars).tolist() == [[False] * 6, [False, False, True] * 2]
    after = tiny_task_model("opt", rank=1)
    update = RoundUpdate(5, 0.02, np.array([1]), scalars[:1][None], ActiveSets.of_sets([ACTIVE] * 3, BLOCKS))
    losses = []
    for step, (batch, count) in enumerate(zip(batches, (3, 2), strict=True)):
        prepared = after.prepare(batch, ACTIVE, 1 if one_sided else 2)
        for pair in range(2):
            move = Perturbation(direction_seed(7, 5, 1, step), pair, 0.01, "rademacher", shared_by=2, groups=3)
            found = after.example_losses(prepared, move)
            still = after.example_losses(prepared, Perturbation(0, 0, 0.0, "rademacher", shared_by=2, groups=3))
            base, width = (still[0], 0.01) if one_sided else (found[1], 0.02)
            losses.append((base if one_sided else found.mean(axis=0)).mean())
            wanted = ((found[0] - base) / width).astype(np.float32)
            assert np.array_equal(scalars[step, 3 * pair : 3 * pair + count], wanted)
        apply_rounds(NUMPY, rule(), after.replica.manifest, after.replica.parameters, [update] if not step else [])
    assert loss == pytest.approx(np.mean(losses), rel=1e-12)
    if not one_sided:
        clipped = Estimator(model, NUMPY, own, 0.02, 0.01, clip=0.5, shared_by=2).round(
            5, ActiveSets.of_sets([ACTIVE] * 3, BLOCKS), {1: batches}
        )[1][0]
        assert np.nanmax(np.abs(clipped)) == np.float32(0.5)


def test_what_is_sent_and_read_again() -> None:
    counts = np.array([3, 2, 1])
    sent = b"".join(compact(row, counts[i : i + 1], 2) for i, row in enumerate(SCALARS))
    assert len(sent) == 4 * 2 * 6
    setup = prepare(tiny_config("zo.directions_per=example", "zo.scope=all", "zo.directions=2", "data.batch_size=3"))
    header = msgspec.structs.replace(setup.header, samples=(1, 3, 2))
    assert rule_of(header).groups == 3
    assert header.sections == groups_section(3)
    method = build_method(setup.config, rule_of(header), setup.manifest)
    plan = RoundPlan(1, 0.1, 1e-3, bytes(8))
    reports = [
        ClientReport(1, n, bytes(8), np.float32(1.0).tobytes(), header.samples[n], compact(row, counts[n : n + 1], 2),
                     sections=counts_section(counts[n : n + 1], 3))
        for n, row in enumerate(SCALARS)
    ]  # fmt: skip
    for n, report in enumerate(reports):
        method.check(report, n, plan, bytes(8))
    commit = method.aggregate(plan, reports)
    assert commit.scalars == sent
    clients, scalars = unpack_scalars(commit, header)
    assert clients.tolist() == [0, 1, 2]
    assert np.array_equal(scalars, SCALARS, equal_nan=True)
    assert not method.aggregate(plan, reports[:1]).sections  # all batches are full
    wrong = {
        r"24 bytes of scalars, 16 expected": {"example_groups": Section(1, np.array([2], "<u4").tobytes())},
        r"a batch has 1 to 3": {"example_groups": Section(1, np.array([4], "<u4").tobytes())},
        r"groups \[0\]": {"example_groups": Section(1, np.array([0], "<u4").tobytes())},
        r"8 bytes of groups for 1 steps": {"example_groups": Section(1, bytes(8))},
    }
    for message, sections in wrong.items():
        with pytest.raises(ReportRejected, match=message):
            method.check(msgspec.structs.replace(reports[0], sections=sections), 0, plan, bytes(8))
    absurd = np.full(6, -2e3, dtype="<f4").tobytes()
    with pytest.raises(ReportRejected, match="losses cannot differ by more than they are"):
        method.check(msgspec.structs.replace(reports[0], scalars=absurd), 0, plan, bytes(8))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["zo.examples_per_direction=2"], "with directions_per=batch.*set zo.directions_per=example"),
        (["zo.directions_per=example", "zo.rank=2", "zo.scope=all"], "has rank 1; set zo.rank=null"),
        (["zo.directions_per=example", "zo.distribution=gaussian"], "must be signs"),
        (["zo.directions_per=example", "zo.scope=auto"], "name another scope"),
        (["zo.directions_per=example", "zo.scope=lora"], "adapters take dense directions"),
        (
            ["zo.directions_per=example", "task.kind=reward", "task.reward=zorba_ray.tasks.rewards:exact_match"],
            "of the whole batch",
        ),
        *(
            ([f"method={method}", "zo.directions_per=example"], f"method={method} is defined with one direction per")
            for method in ("decomfl", "fedkseed", "fedmezo", "fedavg", "fedit")
        ),
        (["method=mezo", "federation.clients=1", "zo.directions_per=example"], "method=mezo is defined with one"),
    ],
)
def test_bad_settings(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config("zo.distribution=rademacher", *overrides)


def test_settings_of_before_keep_their_digest() -> None:
    numbers = tiny_config().numbers()
    assert not [key for key in numbers if "per_direction" in key or "directions_per" in key]
    assert "zo.directions_per" in tiny_config("zo.directions_per=example").numbers()


ONE_SIDED = PairPath(1, False, "rademacher", shared_by=1)


def judged(name: str, path: PairPath = ONE_SIDED, **more: Any) -> Any:
    model = checked_model(as_loaded(tiny(name), is_causal(name), name), rank=1, **more)
    model.require_examples()
    return check(model, path)


EXACT = ("llama", "gpt2", "opt", "bloom", "falcon", "gemma2", "cohere", "gemma4_text", "bert", "albert", "electra")
REFUSED = ("mixtral", "lfm2", "mamba2", "gemma3n_text", "deberta-v2", "longformer", "squeezebert")


@pytest.mark.parametrize("name", EXACT)
def test_an_architecture_is_exact(name: str) -> None:
    assert judged(name).largest < 1e-5


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_is_refused_by_name(name: str) -> None:
    with pytest.raises(ModelError, match=r"\w+ \(\w+\) reads \S+, and cannot do so with a direction for each example"):
        judged(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MECHANISMS if name not in (*EXACT, *REFUSED)])
def test_every_other_mechanism_is_exact_or_refused(name: str) -> None:
    with contextlib.suppress(ModelError):
        assert judged(name).largest < 1e-5


def test_sixteen_bits_and_two_signs_are_judged() -> None:
    for path in (PairPath(2, False, "rademacher", shared_by=2), ONE_SIDED):
        verdict = judged("llama", path, sixteen_bits=True)
        assert verdict.largest <= verdict.allowed


class _Wrong:
    """Faults of the passes that the pair check must see."""

    @staticmethod
    def one_direction_for_all(patch: pytest.MonkeyPatch) -> None:
        plain = ExampleReaders._signs

        def signs(self: ExampleReaders, keys: Any) -> dict[str, torch.Tensor]:
            return {key: drawn[:1].repeat(len(drawn), 1) for key, drawn in plain(self, keys).items()}

        patch.setattr(ExampleReaders, "_signs", signs)

    @staticmethod
    def directions_of_the_next_pair(patch: pytest.MonkeyPatch) -> None:
        plain = PerturbedTensors.at

        def at(self: PerturbedTensors, move: Perturbation, *args: Any, **named: Any) -> Any:
            moved = copy.copy(move)
            object.__setattr__(moved, "direction", 1)
            return plain(self, moved, *args, **named)

        patch.setattr(PerturbedTensors, "at", at)

    @staticmethod
    def groups_in_another_order(patch: pytest.MonkeyPatch) -> None:
        plain = ExampleGroups.of_tokens
        patch.setattr(ExampleGroups, "of_tokens", lambda self, *args: plain(self, *args)[::-1].copy())

    @staticmethod
    def losses_in_another_order(patch: pytest.MonkeyPatch) -> None:
        plain = ExampleGroups.sums
        patch.setattr(ExampleGroups, "sums", lambda self, *args: plain(self, *args)[::-1].copy())


@pytest.mark.parametrize("fault", [name for name in vars(_Wrong) if not name.startswith("_")])
def test_a_fault_is_refused(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    getattr(_Wrong, fault)(monkeypatch)
    with pytest.raises(ModelError, match="not the model's own"):
        judged("llama")


def test_bytes_of_a_report_are_four_for_each_pair_and_example(tmp_path: Any) -> None:
    """P = 2, 8 rows: 64 bytes of scalars; the frame around them has as many as one with a scalar for each pair."""
    settings = ("zo.directions=2", "data.train_rows=64", "rounds=1")
    batch = run_here(tiny_config(*settings), tmp_path / "batch")
    example = run_here(tiny_config(*settings, "zo.directions_per=example"), tmp_path / "example")
    assert replay_run(tmp_path / "example", None, None, None).confirmed
    counts = [len(read_ledger(tmp_path / name / "ledger.zl").records[0].body) for name in ("batch", "example")]
    extra = example["bytes_up_per_client_round"] - batch["bytes_up_per_client_round"]
    assert 4 * 2 * 7 - 8 * 4 <= extra <= 4 * 2 * 7 + 30
    assert counts[1] > counts[0]


@pytest.mark.parametrize("transposed", [False, True])
def test_other_devices_compute_what_the_kernel_does(transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path without the kernel, in fp32 on the CPU; rows of both signs, of which two share a group."""
    generator = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((6, 4, 5), (7, 5), (7,)))
    drawn, shift = torch.randn(2, 12, generator=generator).sign(), torch.randn(2, 7, generator=generator).sign()
    groups = ExampleGroups(np.array([0, 0, 1]), 2, np.array([0, 0, 1]))
    given = (x, weight, bias, drawn, shift, groups, np.array([0.1, -0.1], dtype=np.float32), transposed)
    by_kernel = example_steps.linear_by_example(*given)
    wanted = []
    for row, (group, step) in enumerate([(0, 0.1), (0, 0.1), (1, 0.1), (0, -0.1), (0, -0.1), (1, -0.1)]):
        r, s = (drawn[group, 5:], drawn[group, :5]) if transposed else (drawn[group, :7], drawn[group, 7:])
        wanted.append(x[row] @ (weight + step * torch.outer(r, s)).T + bias + step * shift[group])
    assert torch.allclose(by_kernel, torch.stack(wanted), atol=1e-5)
    monkeypatch.setattr(example_steps, "_is_plain", lambda tensor: False)
    assert torch.allclose(example_steps.linear_by_example(*given), by_kernel, atol=1e-5)
