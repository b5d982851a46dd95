"""Folders that were made to hurt, or are damaged: refused by name, in seconds, and no code of theirs is run."""

import io
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.architectures import tiny
from tests.support.model_folders import State, change_settings, model_folder, tokenizer
from zorba_ray.config import ModelConfig
from zorba_ray.errors import ModelError
from zorba_ray.models import LoadedModel, load_model
from zorba_ray.models.shapes import skeleton

MARK = "ran"
CODE = f"import pathlib; (pathlib.Path(__file__).parent / {MARK!r}).write_text('x')\nclass Evil: pass\n"


def load(folder: Path) -> LoadedModel:
    return load_model(ModelConfig(path=str(folder)))


def refusal(folder: Path) -> str:
    start = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert time.perf_counter() - start < 10
    text = str(caught.value)
    assert len(text) <= 2000
    return text


# Pickles -------------------------------------------------------------------------------------------------------------


class Evil:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self._mark,)


def pickled(folder: Path, make: Callable[[State], Any], **options: Any) -> Path:
    """The folder with its weights as pytorch_model.bin."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(make(state), folder / "pytorch_model.bin", **options)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_a_harmless_pickle_is_read(tmp_path: Path, zipped: bool) -> None:
    folder = model_folder(tmp_path)
    wanted = load_file(folder / "model.safetensors")
    loaded = load(pickled(folder, dict, _use_new_zipfile_serialization=zipped))
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in loaded.network.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_a_pickle_with_code_is_refused_unread(tmp_path: Path, zipped: bool, beside: bool) -> None:
    evil = Evil(tmp_path / MARK)
    folder = pickled(
        model_folder(tmp_path / "m"),
        lambda state: {**state, "evil": evil} if beside else evil,
        _use_new_zipfile_serialization=zipped,
    )
    assert "Python objects other than tensors" in refusal(folder)
    assert not (tmp_path / MARK).exists()


def test_a_bare_pickle_is_refused_unread(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / MARK)))
    assert "Python objects other than tensors" in refusal(folder)
    assert not (tmp_path / MARK).exists()
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert (tmp_path / MARK).exists(), "this pickle does nothing, and the test shows nothing"


@pytest.mark.parametrize("held", [[1, 2, 3], {"step": 3, "name": "x"}, {"model": {"w": torch.ones(2)}}])
def test_a_pickle_of_something_else(tmp_path: Path, held: Any) -> None:
    assert "does not have weights by name" in refusal(pickled(model_folder(tmp_path), lambda state: held))


@pytest.mark.parametrize("bomb", [False, True])
def test_a_compressed_pickle(tmp_path: Path, bomb: bool) -> None:
    """torch reads numbers at their places in the file, compressed or not: other weights, or gigabytes of nothing."""
    folder = pickled(model_folder(tmp_path), dict)
    path = folder / "pytorch_model.bin"
    with (
        zipfile.ZipFile(io.BytesIO(path.read_bytes())) as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as to,
    ):
        for entry in plain.infolist():
            to.writestr(entry.filename, plain.read(entry))
        if bomb:
            to.writestr("archive/data/99", bytes(1 << 28))
    assert "pytorch_model.bin is compressed" in refusal(folder)


# Files of weights ----------------------------------------------------------------------------------------------------


def sharded(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda index: index) -> Path:
    """The folder with its weights in two shards, and what `change` makes of their index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    table = {}
    for place, half in enumerate((sorted(state)[::2], sorted(state)[1::2]), start=1):
        name = f"model-{place:05}-of-00002.safetensors"
        save_file({key: state[key] for key in half}, folder / name, {"format": "pt"})
        table |= dict.fromkeys(half, name)
    index = change({"metadata": {"total_size": 1}, "weight_map": table})
    (folder / "model.safetensors.index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    return folder


def test_shards(tmp_path: Path) -> None:
    assert len(load(sharded(model_folder(tmp_path))).blocks) == 2
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "names 'model-00002-of-00002.safetensors', which is missing" in refusal(tmp_path)


@pytest.mark.parametrize("absolute", [True, False])
def test_shards_outside_of_the_folder(tmp_path: Path, absolute: bool) -> None:
    other = model_folder(tmp_path / "other") / "model.safetensors"
    name = str(other) if absolute else "../other/model.safetensors"
    folder = model_folder(tmp_path / "m")
    keys = load_file(folder / "model.safetensors")
    sharded(folder, lambda index: {**index, "weight_map": dict.fromkeys(keys, name)})
    assert "names weights outside of the folder" in refusal(folder)


@pytest.mark.parametrize(
    "index", [[], {}, {"weight_map": 5}, {"weight_map": {"a": 5}}, {"weight_map": {}}, "[" * 100_000, ""]
)
def test_an_index_that_is_none(tmp_path: Path, index: Any) -> None:
    assert "model.safetensors.index.json is not an index of weights" in refusal(
        sharded(model_folder(tmp_path), lambda _: index)
    )


@pytest.mark.parametrize("change", [
    lambda data: b"",
    lambda data: data[:100],
    lambda data: data[: len(data) // 2],
    lambda data: (10**17).to_bytes(8, "little") + data[8:],
    lambda data: data + b"more",
    lambda data: b"{}" * 100,
])  # fmt: skip
def test_damaged_weights(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = model_folder(tmp_path) / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    assert "model.safetensors is damaged or has no weights" in refusal(tmp_path)


def test_no_weights(tmp_path: Path) -> None:
    (model_folder(tmp_path) / "model.safetensors").unlink()
    assert "no weights (model.safetensors" in refusal(tmp_path)
    save_file({}, tmp_path / "model.safetensors", {"format": "pt"})
    assert "lack weights" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_devices_and_pipes_are_not_read(tmp_path: Path, name: str, kind: str) -> None:
    path = model_folder(tmp_path) / name
    path.unlink(missing_ok=True)
    os.symlink("/dev/zero", path) if kind == "device" else os.mkfifo(path)
    assert "is a device or pipe and not a file" in refusal(tmp_path)


def test_links_into_a_cache_and_other_folders_are_let_be(tmp_path: Path) -> None:
    """As the hub's cache keeps a model, with what sentence-transformers puts beside it."""
    folder = model_folder(tmp_path / "m", "bert")
    for file in list(folder.iterdir()):
        (tmp_path / "blobs").mkdir(exist_ok=True)
        os.symlink(file.rename(tmp_path / "blobs" / file.name), file)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 32}')
    (folder / "modules.json").write_text('[{"idx": 0, "type": "sentence_transformers.models.Transformer", "path": ""}]')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    (folder / "training_args.bin").write_bytes(b"junk")
    os.symlink(tmp_path / "nowhere", folder / "broken")
    assert len(load(folder).blocks) == 2


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (model_folder(tmp_path) / "adapter_config.json").write_text("{}")
    assert "merge it into its base model" in refusal(tmp_path)


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    b"", b"null", b"[1]", b"[" * 200_000, b'{"a":' * 100_000,
    b'{"model_type": "llama", "vocab_size": ' + b"9" * 5000 + b"}",
    b'{"a": "' + b"x" * (2 << 20) + b'"}', b'{"model_type": "llama\xe9"}', b'{"model_type": ["llama"]}',
    b'{"model_type": "llama", "architectures": [5]}', b'{"model_type": "llama", "architectures": "LlamaForCausalLM"}',
    b"{}", b'{"model_type": "no_such_type"}', b'{"model_type": "' + b"q" * 5000 + b'"}',
    b'{"model_type": "llama", "hidden_size": 1e5000}', b'{"model_type": "\\u001b[31mred"}',
], ids=range(16))  # fmt: skip
def test_settings_that_are_none(tmp_path: Path, text: bytes) -> None:
    (model_folder(tmp_path) / "config.json").write_bytes(text)
    assert "config.json" in (said := refusal(tmp_path))
    assert "\x1b" not in said


def test_no_settings(tmp_path: Path) -> None:
    (model_folder(tmp_path) / "config.json").unlink()
    assert "no config.json in this folder" in refusal(tmp_path)
    (tmp_path / "config.json").mkdir()
    assert "no config.json in this folder" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", '{"a": ' + "9" * 5000 + "}"], ids=["deep", "list", "digits"])
def test_other_settings_that_are_none(tmp_path: Path, name: str, text: str) -> None:
    (model_folder(tmp_path) / name).write_text(text)
    assert "could not be loaded" in refusal(tmp_path)


WIDE, LARGE = 10**9, 10**12


@pytest.mark.parametrize(("kind", "name", "value"), [
    ("llama", "num_hidden_layers", WIDE), ("llama", "num_hidden_layers", 1900), ("llama", "vocab_size", LARGE),
    ("llama", "hidden_size", 10**7), ("llama", "intermediate_size", 10**8), ("llama", "head_dim", WIDE),
    ("llama", "num_attention_heads", WIDE), ("llama", "num_labels", WIDE), ("llama", "hidden_size", 10**300),
    ("llama", "num_attention_heads", 0), ("llama", "vocab_size", 0), ("llama", "vocab_size", -1),
    ("llama", "hidden_size", 0), ("llama", "num_hidden_layers", 0), ("llama", "num_hidden_layers", -WIDE),
    ("llama", "num_hidden_layers", "2"), ("llama", "hidden_size", 32.0), ("llama", "vocab_size", "x" * 3000),
    ("llama", "hidden_size", [32]), ("llama", "hidden_size", {"a": 1}), ("llama", "num_hidden_layers", True),
    ("gpt2", "n_positions", WIDE), ("gpt2", "n_inner", WIDE), ("gpt2", "n_layer", WIDE), ("gpt2", "n_embd", 10**7),
    ("opt", "max_position_embeddings", WIDE), ("opt", "ffn_dim", WIDE), ("opt", "word_embed_proj_dim", WIDE),
    ("bert", "max_position_embeddings", WIDE), ("bert", "type_vocab_size", LARGE),
])  # fmt: skip
def test_sizes_that_the_weights_do_not_have(tmp_path: Path, kind: str, name: str, value: Any) -> None:
    refusal(model_folder(tmp_path, kind, **{name: value}))


@pytest.mark.parametrize(("kind", "name", "value"), [
    ("mixtral", "num_local_experts", 10**7), ("deepseek_v3", "n_routed_experts", 10**7),
    ("deepseek_v3", "moe_intermediate_size", WIDE), ("xglm", "max_position_embeddings", WIDE),
    ("gptj", "n_positions", WIDE), ("mamba2", "state_size", WIDE), ("mamba2", "chunk_size", WIDE),
    ("mpt", "max_seq_len", WIDE), ("longformer", "attention_window", [WIDE] * 3), ("albert", "num_hidden_layers", WIDE),
    ("gemma3n_text", "vocab_size_per_layer_input", LARGE), ("gemma3n_text", "altup_num_inputs", WIDE),
    ("reformer", "axial_pos_shape", [10**5, 10**5]), ("deberta-v2", "position_buckets", WIDE),
])  # fmt: skip
def test_sizes_of_other_architectures(tmp_path: Path, kind: str, name: str, value: Any) -> None:
    network = tiny(kind)
    refusal(model_folder(tmp_path, network, **{name: value}))


@pytest.mark.parametrize(("kind", "changes"), [
    ("llama", {"max_position_embeddings": 10**7, "rope_theta": 10**12, "bos_token_id": 10**12, "eos_token_id": -1}),
    ("llama", {"total_params": 10**15, "num_tokens_seen": 10**15, "sliding_window": 10**9, "pretraining_tp": 8}),
    ("qwen2", {"max_position_embeddings": 10**9, "max_window_layers": 70}),
])  # fmt: skip
def test_large_numbers_that_are_no_sizes_are_let_be(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    assert len(load(model_folder(tmp_path, kind, **changes)).blocks) == 2


def test_a_per_layer_vocabulary_is_no_number_of_layers(tmp_path: Path) -> None:
    """Gemma 3n's real one has 262,144 rows; the refusal of a wrong one is about its weights."""
    folder = model_folder(tmp_path, tiny("gemma3n_text"))
    assert load(folder).blocks
    change_settings(folder, vocab_size_per_layer_input=262_144)
    assert "and the limit is" not in refusal(folder)


def test_a_network_from_settings_alone_is_bounded_too(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "llama", num_hidden_layers=10**9)
    with pytest.raises(ModelError, match="num_hidden_layers=1000000000"):
        skeleton(ModelConfig(path=str(folder)), torch.float32)


# Code ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> str:
        raise AssertionError("a question on the terminal")

    monkeypatch.setattr("builtins.input", asked)


AUTO = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM"), "evil.Evil")


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize("known", [True, False])
def test_code_of_the_folder_is_never_run(tmp_path: Path, known: bool) -> None:
    folder = model_folder(tmp_path, auto_map=AUTO, **({} if known else {"model_type": "evil"}))
    (folder / "evil.py").write_text(CODE)
    if known:
        assert len(load(folder).blocks) == 2
    else:
        assert "needs code that comes with the model, which is never run" in refusal(folder)
    assert not (folder / MARK).exists()


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "EvilTokenizer"])
def test_code_of_a_tokenizer_is_never_run(tmp_path: Path, kind: str) -> None:
    folder = model_folder(tmp_path)
    change_settings(
        folder, "tokenizer_config.json", tokenizer_class=kind, auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    )
    (folder / "evil.py").write_text(CODE)
    if kind == "EvilTokenizer":
        assert "needs code that comes with the model" in refusal(folder)
    else:
        assert len(load(folder).blocks) == 2
    assert not (folder / MARK).exists()


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_kernels_are_never_fetched(tmp_path: Path, name: str) -> None:
    assert "names code to download and run" in refusal(model_folder(tmp_path, **{name: "evil/kernel"}))


# Tokenizers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"[" * 10**6, b'{"version": "1.0", "model": {"type": "BPE"'], ids=range(5)
)
def test_damaged_tokenizers(tmp_path: Path, text: bytes) -> None:
    (model_folder(tmp_path) / "tokenizer.json").write_bytes(text)
    assert "the tokenizer could not be loaded" in refusal(tmp_path)


def test_a_tokenizer_of_absurd_size(tmp_path: Path) -> None:
    with (model_folder(tmp_path) / "tokenizer.json").open("r+b") as file:
        file.truncate(1 << 34)  # a hole: it takes no room
    assert "'tokenizer.json' has 17,179,869,184 bytes" in refusal(tmp_path)


def test_a_tokenizer_without_padding(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    tokenizer(pad=None).save_pretrained(folder)
    assert load(folder).tokenizer.pad_token == "</s>"
    tokenizer(pad=None, eos=None).save_pretrained(folder)
    assert "neither a padding nor an end token" in refusal(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert "the tokenizer could not be loaded" in refusal(folder)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "gemma2", "bert", "phi3", "mistral", "deepseek_v3"])
@pytest.mark.parametrize("named", ["TokenizersBackend", "PreTrainedTokenizerFast"])
def test_a_tokenizer_file_is_read_as_it_stands(tmp_path: Path, kind: str, named: str) -> None:
    """transformers makes Qwen2's tokenizer of any vocabulary that lies beside a Qwen2."""
    folder = model_folder(tmp_path, tiny(kind))
    change_settings(folder, "tokenizer_config.json", tokenizer_class=named)
    text = "good film w25 nowhere was"
    assert load(folder).tokenizer(text)["input_ids"] == tokenizer()(text)["input_ids"] == [8, 13, 25, 3, 11]
