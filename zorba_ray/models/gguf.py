"""A model in one `.gguf` file, as llama.cpp has them, made once into an ordinary folder of fp32 weights.

transformers unpacks the tensors. It passes over what it does not know: a table of scaled positions, a cap on logits, a
rule that cuts text. Such a model would look right and be another one. So what transformers reads is compared with what
the file says, and the rest is refused.
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
"""Those whose unpacked weights were compared with the original's."""
_NEEDED = (
    "context_length", "block_count", "embedding_length", "feed_forward_length", "rope.freq_base",
    "attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon",
)  # fmt: skip
"""Settings that transformers reads, and would replace by values of its own."""
_WIDTHS = ("rope.dimension_count", "attention.key_length", "attention.value_length")
"""Settings that say the width of a head once more."""
_SPLITS = ("gpt-2", "smollm", "llama-bpe", "llama3", "llama-v3", "qwen2", "deepseek-r1-qwen", "tekken")
"""Rules by which a byte-level tokenizer cuts text, of those that are reproduced."""
_PACKAGES = ("gguf", "accelerate")
_FACTS = "gguf.json"
"""What a folder was made of."""
_WHOLE = {"F32", "F16", "BF16"}
_SAMPLE = "It's  a film:\n\n 12 of 1990's best. <|im_end|>"


def gguf_folder(file: Path, label: str, folder: Path | None = None) -> Path:
    """The folder of the model in `file`, made now if it is not there.

    Args:
        label: `model.path`, for messages.
        folder: where it shall be; None: in the user's cache, under the file's name and SHA-256.

    Raises:
        ModelError: a damaged file, one of a kind that is not read, packages that are missing, a full disk.
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
            f"model.path={label}: a .gguf file is read with {' and '.join(missing)}, not installed here; run "
            "`pip install gguf accelerate` (the extra `gguf` of zorba-ray)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder.parent).free) < 4 * header.elements:
        raise ModelError(
            f"model.path={label}: in fp32 the model has {4 * header.elements:,} bytes, and {folder.parent} has "
            f"{free:,} free; make room, or set XDG_CACHE_HOME to another folder"
        )
    facts = {"sha256": digest, "kinds": header.kinds}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as staging:
        linked, made = Path(staging) / "file", Path(staging) / "folder"
        linked.mkdir()
        (linked / "model.gguf").symlink_to(file.resolve())  # alone, so that nothing beside it is read
        _convert(header, linked, made, label)
        (made / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        with contextlib.suppress(OSError):  # another process was first, with the same files
            os.rename(made, folder)
    return folder


def packed_kinds(folder: Path) -> str | None:
    """What the weights of a folder were packed as, as in `Q4_1, Q8_0, F32`; None where they were not quantised."""
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
    """Whether all that the header says of the model's arithmetic and of its tokenizer is reproduced.

    Raises:
        ModelError: names what is not.
    """
    settings, kind = header.settings, header.settings.get("general.architecture")

    def refuse(why: str) -> ModelError:
        return ModelError(f"model.path={label}: {why}; take the model as a folder in the format of save_pretrained")

    if kind not in ARCHITECTURES:
        raise refuse(f"architecture {shown(kind)} is not read from .gguf files, only {', '.join(ARCHITECTURES)}")
    if settings.get("general.type", "model") != "model" or settings.get("split.count", 1) > 1:
        raise refuse("the file is an adapter, or one of several parts, and no whole model")
    own = {name.removeprefix(f"{kind}."): value for name, value in settings.items() if name.startswith(f"{kind}.")}
    if missing := [name for name in _NEEDED if not isinstance(own.get(name), (int, float))]:
        raise refuse(f"the file does not say {kind}.{missing[0]}")
    if beyond := sorted(set(own) - {*_NEEDED, *_WIDTHS, "vocab_size"}):
        raise refuse(f"the setting {on_one_line(kind)}.{on_one_line(beyond[0])}={shown(own[beyond[0]])} would be lost")
    query = header.tensors.get("blk.0.attn_q.weight")
    width = query.shape[0] / own["attention.head_count"] if query and own["attention.head_count"] else 0
    for name in _WIDTHS:
        if own.get(name, width) != width:
            raise refuse(f"{kind}.{name}={shown(own[name])} is not the width of a head, {width:g}, and would be lost")
    model, split = settings.get("tokenizer.ggml.model"), settings.get("tokenizer.ggml.pre", "gpt-2")
    if model not in ("gpt2", "llama") or (model == "gpt2" and split not in _SPLITS):
        raise refuse(f"its tokenizer ({shown(model)}, {shown(split)}) is not reproduced")


def _convert(header: GgufHeader, source: Path, folder: Path, label: str) -> None:
    """Unpacks `source`/model.gguf into `folder`."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    options: dict[str, Any] = {"gguf_file": "model.gguf", "trust_remote_code": False, "local_files_only": True}
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    weights = Weights(header.tensors, 4 * header.elements)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar of another library
            settings = transformers.AutoConfig.from_pretrained(source, **options)
            settings.save_pretrained(folder)
            Folder(folder, label)  # sizes that models have
            with within(weights, label):
                network, report = load(
                    source,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are listed, and refused
                    # Else weights may stay packed, and are computed by kernels that are fetched, which are code.
                    quantization_config=transformers.GgufConfig(dequantize=True),
                    **options,
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
    except (ModelError, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # damaged files fail in many ways, and a panic of a Rust library is no Exception
        raise ModelError(
            f"model.path={label}: the .gguf file could not be unpacked ({on_one_line(first_line(error))}); fetch it "
            "again, or take the model as a folder in the format of save_pretrained"
        ) from error
    finally:
        transformers.logging.set_verbosity(level)
    _require_all_used(header, network, report, label)
    _require_tokenizer(header, tokenizer, label)
    network.hf_quantizer, network.is_quantized = None, False  # else it refuses to be saved
    vars(network.config).pop("quantization_config", None)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if again(_SAMPLE).input_ids != tokenizer(_SAMPLE).input_ids:
        raise ModelError(f"model.path={label}: its tokenizer is another one after it is saved; report this as a defect")


def _require_all_used(header: GgufHeader, network: Any, report: Any, label: str) -> None:
    """Whether the network has as many numbers as the file, and all of them come from it.

    Raises:
        ModelError: it has others.
    """
    fresh = [str(key) for keys in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in report[keys]]
    held, taken = header.elements, sum(parameter.numel() for parameter in network.parameters())
    if fresh or held != taken:
        odd = [name for name in header.tensors if not re.match(r"blk\.\d+\.|token_embd\.|output(_norm)?\.", name)]
        raise ModelError(
            f"model.path={label}: the file holds {held:,} numbers, and a network of its sizes "
            f"takes {taken:,} (at {listed(fresh or odd or ['a tensor of the blocks'], 4)}); take the model as a "
            "folder in the format of save_pretrained"
        )


def _require_tokenizer(header: GgufHeader, tokenizer: Any, label: str) -> None:
    """Cuts text by the file's own rule, and holds the beginning of a text against what the file says.

    Raises:
        ModelError: the begin token is put where it does not belong, or left out.
    """
    if header.settings.get("tokenizer.ggml.pre") == "smollm":  # single digits, which transformers does not know of
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    by_default = header.settings["tokenizer.ggml.model"] == "llama"
    wanted = header.settings.get("tokenizer.ggml.add_bos_token", by_default)
    begins = tokenizer.bos_token_id is not None and tokenizer(_SAMPLE).input_ids[0] == tokenizer.bos_token_id
    if bool(wanted) != begins:
        raise ModelError(
            f"model.path={label}: tokenizer.ggml.add_bos_token={shown(wanted)}, and the tokenizer that is made of the "
            "file does otherwise; take the model as a folder in the format of save_pretrained"
        )
