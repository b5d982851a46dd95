"""Converts a model in a `.gguf` file, the format of llama.cpp, once to an ordinary folder of fp32 weights.

transformers unpacks the tensors. But it ignores what it does not know: a table of scaled positions, a cap on logits, a
rule by which text is split. Such a model would look right, but would be another model. So the settings that
transformers reads are compared with those in the file. If the file has others, it is refused.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers

from zorba_ray.errors import ModelError
from zorba_ray.models.extent import within
from zorba_ray.models.folder import Folder, Weights
from zorba_ray.models.gguf_header import GgufHeader, read_gguf_header
from zorba_ray.printable import first_line, listed, on_one_line, shown

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Architectures whose unpacked weights were compared with the original ones."""
_NEEDED = (
    "context_length", "block_count", "embedding_length", "feed_forward_length", "rope.freq_base",
    "attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon",
)  # fmt: skip
"""Required settings: if they were missing, transformers would use its defaults."""
_WIDTHS = ("rope.dimension_count", "attention.key_length", "attention.value_length")
"""Settings that repeat the width of a head."""
_SPLITS = ("gpt-2", "smollm", "llama-bpe", "llama3", "llama-v3", "qwen2", "deepseek-r1-qwen", "tekken")
"""Rules by which a byte-level tokenizer splits text that are reproduced here."""
_PACKAGES = ("gguf", "accelerate")
_FACTS = "gguf.json"
"""File in a converted folder: SHA-256 of its `.gguf` file, and the kinds of its tensors."""
_WHOLE = {"F32", "F16", "BF16"}
_SAMPLE = "It's  a film:\n\n 12 of 1990's best. <|im_end|>"


def gguf_folder(file: Path, label: str, folder: Path | None = None) -> Path:
    """The folder of the model in `file`. If it does not exist, the file is converted.

    Args:
        label: `model.path`, for messages.
        folder: the folder to write; None: in the user's cache, by the file's name and SHA-256.

    Raises:
        ModelError: a damaged file, an unsupported kind of file, missing packages, a full disk.
    """
    header = read_gguf_header(file, label)
    _require_known(header, label)
    digest = _digest(file)
    folder = folder or cached_models() / f"{file.stem}-{digest[:16]}-transformers-{transformers.__version__}"
    if (folder / "config.json").is_file():
        return folder
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"model.path={label}: reading a .gguf file needs {' and '.join(missing)}, not installed here; run "
            "`pip install gguf accelerate` (the extra `gguf` of zorba-ray)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder.parent).free) < 4 * header.elements:
        raise ModelError(
            f"model.path={label}: in fp32 the model has {4 * header.elements:,} bytes, and {folder.parent} has only "
            f"{free:,} free; free some space, or set XDG_CACHE_HOME to another folder"
        )
    facts = {"sha256": digest, "kinds": header.kinds}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as staging:
        linked, converted = Path(staging) / "file", Path(staging) / "folder"
        linked.mkdir()
        (linked / "model.gguf").symlink_to(file.resolve())  # in an empty folder, so that no other file is read
        _convert(header, linked, converted, label)
        (converted / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        with contextlib.suppress(OSError):  # another process has just written the same folder
            os.rename(converted, folder)
    return folder


def packed_kinds(folder: Path) -> str | None:
    """The kinds of tensors from which a folder was unpacked, such as `Q4_1, Q8_0, F32`; None: they were not
    quantised."""
    try:
        kinds = json.loads((folder / _FACTS).read_text(encoding="utf-8"))["kinds"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return kinds if isinstance(kinds, str) and set(kinds.split(", ")) - _WHOLE else None


def cached_models() -> Path:
    """The folder of this user's converted models."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zorba-ray"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _require_known(header: GgufHeader, label: str) -> None:
    """Checks that all settings of the header about the model's computations and its tokenizer are reproduced here.

    Raises:
        ModelError: names a setting that is not.
    """
    settings, kind = header.settings, header.settings.get("general.architecture")

    def refuse(why: str) -> ModelError:
        return ModelError(f"model.path={label}: {why}; use the model as a folder in Hugging Face format")

    if kind not in ARCHITECTURES:
        raise refuse(f"architecture {shown(kind)} is not read from .gguf files, only {', '.join(ARCHITECTURES)}")
    if settings.get("general.type", "model") != "model" or settings.get("split.count", 1) > 1:
        raise refuse("the file is an adapter or one of several parts, and not a whole model")
    model_settings = {
        name.removeprefix(f"{kind}."): value for name, value in settings.items() if name.startswith(f"{kind}.")
    }
    if missing := [name for name in _NEEDED if not isinstance(model_settings.get(name), (int, float))]:
        raise refuse(f"the file lacks the setting {kind}.{missing[0]}")
    if beyond := sorted(set(model_settings) - {*_NEEDED, *_WIDTHS, "vocab_size"}):
        raise refuse(
            f"the setting {on_one_line(kind)}.{on_one_line(beyond[0])}={shown(model_settings[beyond[0]])} would be lost"
        )
    query = header.tensors.get("blk.0.attn_q.weight")
    width = (
        query.shape[0] / model_settings["attention.head_count"]
        if query and model_settings["attention.head_count"]
        else 0
    )
    for name in _WIDTHS:
        if model_settings.get(name, width) != width:
            raise refuse(
                f"{kind}.{name}={shown(model_settings[name])} is not the width of a head, {width:g}, and would be lost"
            )
    model, split = settings.get("tokenizer.ggml.model"), settings.get("tokenizer.ggml.pre", "gpt-2")
    if model not in ("gpt2", "llama") or (model == "gpt2" and split not in _SPLITS):
        raise refuse(f"its tokenizer ({shown(model)}, {shown(split)}) is not reproduced")


def _convert(header: GgufHeader, source: Path, folder: Path, label: str) -> None:
    """Unpacks model.gguf in `source` to `folder`."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    options: dict[str, Any] = {"gguf_file": "model.gguf", "trust_remote_code": False, "local_files_only": True}
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    weights = Weights(header.tensors, 4 * header.elements)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # hides a progress bar of another library
            settings = transformers.AutoConfig.from_pretrained(source, **options)
            settings.save_pretrained(folder)
            Folder(folder, label)  # checks the sizes
            with within(weights, label):
                network, report = load(
                    source,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are listed, and refused below
                    # Without it weights may stay packed, and kernels for them, which are code, would be downloaded.
                    quantization_config=transformers.GgufConfig(dequantize=True),
                    **options,
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
    except (ModelError, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # damaged files fail in many ways; a panic of a Rust library is not an Exception
        raise ModelError(
            f"model.path={label}: the .gguf file could not be unpacked ({on_one_line(first_line(error))}); download it "
            "again, or use the model as a folder in Hugging Face format"
        ) from error
    finally:
        transformers.logging.set_verbosity(level)
    _require_all_used(header, network, report, label)
    _require_tokenizer(header, tokenizer, label)
    network.hf_quantizer, network.is_quantized = None, False  # otherwise save_pretrained refuses it
    vars(network.config).pop("quantization_config", None)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if again(_SAMPLE).input_ids != tokenizer(_SAMPLE).input_ids:
        raise ModelError(
            f"model.path={label}: the tokenizer changes when it is saved; please report this as a defect of zorba-ray"
        )


def _require_all_used(header: GgufHeader, network: Any, report: Any, label: str) -> None:
    """Checks that the network has as many numbers as the file, and that all of them come from the file.

    Raises:
        ModelError: this is not so.
    """
    fresh = [str(key) for keys in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in report[keys]]
    in_file, in_network = header.elements, sum(parameter.numel() for parameter in network.parameters())
    if fresh or in_file != in_network:
        odd = [name for name in header.tensors if not re.match(r"blk\.\d+\.|token_embd\.|output(_norm)?\.", name)]
        raise ModelError(
            f"model.path={label}: the file has {in_file:,} numbers, and a network of its sizes has {in_network:,} (at "
            f"{listed(fresh or odd or ['a tensor of the blocks'], 4)}); use the model as a folder in Hugging Face "
            "format"
        )


def _require_tokenizer(header: GgufHeader, tokenizer: Any, label: str) -> None:
    """Sets the file's rule for splitting text, and checks that the begin token is used as in the file.

    Raises:
        ModelError: the begin token is added although the file does not add it, or the other way round.
    """
    if header.settings.get("tokenizer.ggml.pre") == "smollm":  # splits single digits, which transformers does not know
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    by_default = header.settings["tokenizer.ggml.model"] == "llama"
    add_bos = header.settings.get("tokenizer.ggml.add_bos_token", by_default)
    begins = tokenizer.bos_token_id is not None and tokenizer(_SAMPLE).input_ids[0] == tokenizer.bos_token_id
    if bool(add_bos) != begins:
        raise ModelError(
            f"model.path={label}: tokenizer.ggml.add_bos_token={shown(add_bos)}, and the tokenizer that is made from "
            "the file does the opposite; use the model as a folder in Hugging Face format"
        )
