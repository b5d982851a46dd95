"""Tiny models as folders, as save_pretrained writes them, and what can be done to such a folder."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.tiny_models import tiny_network

WORDS = ("alpha", "beta", "gamma", "delta", "good", "bad", "it", "was", "a", "film")
VOCABULARY = 40
"""Rows of the embedding of `tiny_network`."""

State = dict[str, torch.Tensor]


def tokenizer(pad: str | None = "<pad>", eos: str | None = "</s>", words: int = VOCABULARY) -> Any:
    """A tokenizer of whole words with `words` tokens."""
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    table = {word: place for place, word in enumerate([*special, *WORDS])}
    table |= {f"w{place}": place for place in range(len(table), words)}
    fast = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token="<unk>"))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    named = {name: word for name, word in {"pad_token": pad, "eos_token": eos, "unk_token": "<unk>"}.items() if word}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=fast, **named)


def model_folder(path: Path, network: Any = "llama", **settings: Any) -> Path:
    """`path`, made into the folder of a network (a kind of `tiny_network`, or a network) and its tokenizer."""
    network = tiny_network(network, blocks=2) if isinstance(network, str) else network
    network.save_pretrained(path)
    tokenizer().save_pretrained(path)
    if settings:
        change_settings(path, **settings)
    return path


def data_folder(path: Path, rows: int = 24) -> Path:
    """`path`, with two classes of short texts in the words of `tokenizer`."""
    path.mkdir(parents=True, exist_ok=True)
    texts = [f"{WORDS[row % 2]} {WORDS[2 + row % 7]} film w{20 + row % 11}" for row in range(rows)]
    frame = pandas.DataFrame({"text": texts, "label": [row % 2 for row in range(rows)]})
    for split in ("train", "validation", "test"):
        frame.to_csv(path / f"{split}.csv", index=False)
    return path


def run_tree(model: Path, data: Path, /, **changes: Any) -> dict[str, Any]:
    """Settings of a run of a second on such a model and such data; `changes` by section."""
    tree: dict[str, Any] = {
        "name": "tiny",
        "rounds": 1,
        "seed": 1,
        "model": {"path": str(model)},
        "data": {
            "path": str(data), "prompt": "{text} it was", "label_words": ["good", "bad"], "max_length": 16,
            "batch_size": 4,
        },
        "zo": {"lr": 0.001, "directions": 1},
        "federation": {"clients": 2, "backend": "sequential"},
        "eval": {"every": 1},
        "tracking": {"wandb": "disabled"},
    }  # fmt: skip
    for section, values in changes.items():
        tree[section] = {**tree[section], **values} if isinstance(values, dict) else values
    return tree


def change_settings(folder: Path, name: str = "config.json", **changes: Any) -> None:
    """Sets entries of a JSON file of the folder; None takes an entry away."""
    path = folder / name
    tree = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in tree.items() if value is not None}), encoding="utf-8")


def change_weights(folder: Path, change: Callable[[State], Mapping[str, torch.Tensor]]) -> None:
    """Writes model.safetensors again with what `change` makes of its tensors."""
    path = folder / "model.safetensors"
    changed = {name: tensor.clone().contiguous() for name, tensor in change(load_file(path)).items()}
    save_file(changed, path, {"format": "pt"})


def renamed(rename: Callable[[str], str]) -> Callable[[State], State]:
    """For `change_weights`: other names."""
    return lambda state: {rename(name): tensor for name, tensor in state.items()}


def without(*names: str) -> Callable[[State], State]:
    """For `change_weights`: no tensors of these names."""

    def change(state: State) -> State:
        assert set(names) <= set(state), sorted(state)
        return {name: tensor for name, tensor in state.items() if name not in names}

    return change


def beside(**tensors: torch.Tensor) -> Callable[[State], State]:
    """For `change_weights`: more tensors; `__` in a name stands for a dot."""
    return lambda state: {**state, **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
