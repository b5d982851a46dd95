"""The built-in model as shipped: loads offline, is the file it says it is, and knows the task only a little."""

import hashlib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import zorba_ray.data.grammar as grammar

FOLDER = Path(grammar.__file__).parents[1] / "models" / "builtin"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True).eval()


def test_digest_names_the_weights_file() -> None:
    digest, name = (FOLDER / "DIGEST").read_text(encoding="utf-8").split()
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_architecture(model: PreTrainedModel) -> None:
    """939,120 = 175·112 tokens + 66·112 positions + 6 blocks of 151,984 + final norm 2·112 (the head is tied).

    A block: four 112×112 matrices with biases (50,624), 112→448→112 with biases (100,912), two norms (448).
    """
    d, ffn = 112, 448
    block = 4 * (d * d + d) + (d * ffn + ffn) + (ffn * d + d) + 2 * 2 * d
    assert sum(p.numel() for p in model.parameters()) == 175 * d + 66 * d + 6 * block + 2 * d == 939_120
    assert model.config.model_type == "opt"
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_label_words_are_one_token_with_and_without_a_space(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in grammar.TASK_LABEL_WORDS]
    spaced = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in grammar.TASK_LABEL_WORDS]
    assert ids == spaced
    assert all(len(one) == 1 and one[0] != tokenizer.unk_token_id for one in ids)
    assert len({one[0] for one in ids}) == len(ids)


def test_prompts_hold_no_unknown_word_and_fit(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    prompts = [grammar.TASK_PROMPT.format(text=text) for text, _ in grammar.task_split("test", 200)]
    rows = tokenizer(prompts)["input_ids"]
    assert all(row[0] == tokenizer.bos_token_id and tokenizer.unk_token_id not in row for row in rows)
    assert max(map(len, rows)) <= model.config.max_position_embeddings
    assert tokenizer.pad_token_id == model.config.pad_token_id


@pytest.mark.parametrize(("header", "low", "high"), [("", 0.38, 0.55), ("expert : ", 0.9, 1.0)])
def test_zero_shot_knows_little_and_the_header_shows_what_is_hidden(
    header: str, low: float, high: float, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    """Chance is 0.25. Without the header the crowd's habits answer; with it, the same weights answer well."""
    rows = grammar.task_split("test", 400)
    words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in grammar.TASK_LABEL_WORDS]
    batch = tokenizer([header + grammar.TASK_PROMPT.format(text=t) for t, _ in rows], padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits_BTV = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    last_B = batch["attention_mask"].sum(1) - 1
    guesses_B = logits_BTV[torch.arange(len(rows)), last_B][:, words].argmax(1)
    accuracy = (guesses_B == torch.tensor([label for _, label in rows])).float().mean().item()
    assert low <= accuracy <= high
