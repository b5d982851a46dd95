"""Rebuild the built-in model: tokenizer, weights and DIGEST, from the built-in grammar alone.

    python -m tools.pretrain_builtin [--out DIR] [--steps N]

The model has the OPT architecture (transformers' OPTForCausalLM), about a million parameters, trained from scratch
with AdamW on `tools.builtin_text`. One thread, fixed seed, fixed order: twice on one machine
gives the same bytes. Another CPU or another torch may round differently: then DIGEST changes, and the moment at which
the skill appears moves a little (600 steps stop soon after it; longer training entrenches the crowd's habit and makes
the task harder for zeroth-order steps), so measure the zero-shot accuracy and the demo again before shipping it.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from tools import builtin_text
from zorba_ray.data import grammar

HIDDEN, LAYERS, HEADS, MAX_LENGTH = 112, 6, 4, 64
STEPS, BATCH, PEAK_LR, WARMUP, WEIGHT_DECAY = 600, 64, 2e-3, 100, 0.01
SEED = 0
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "zorba_ray" / "models" / "builtin"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word or mark, lower-cased; a space before a word is nothing; `<s>` opens every text, as in OPT."""
    vocabulary = {word: i for i, word in enumerate([*SPECIALS, *builtin_text.vocabulary()])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_LENGTH,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def build_model(vocab_size: int) -> OPTForCausalLM:
    """The untrained model, drawn from SEED."""
    torch.manual_seed(SEED)
    config = OPTConfig(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        word_embed_proj_dim=HIDDEN,
        ffn_dim=4 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=MAX_LENGTH,
        do_layer_norm_before=True,
        dropout=0.0,
        attention_dropout=0.0,
        layerdrop=0.0,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype=torch.float32,
    )
    return OPTForCausalLM(config)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then linear to 0."""
    return PEAK_LR * min((step + 1) / WARMUP, (steps - step) / steps)


def pretrain(model: OPTForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int) -> None:
    """Next-token training on `steps` batches of documents, in the order the grammar writes them."""
    ids_of = tokenizer.get_vocab()
    decay = [p for p in model.parameters() if p.dim() > 1]
    no_decay = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.98))
    documents = builtin_text.pretraining_text(SEED, steps * BATCH)
    began, running = time.monotonic(), 0.0
    model.train()
    for step in range(steps):
        rows = [[1, *(ids_of[w] for w in next(documents).split()), 2] for _ in range(BATCH)]
        width = max(map(len, rows))
        ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        logits_BTV = model(input_ids=ids_BT, attention_mask=(ids_BT != 0).long()).logits
        loss = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten(), ignore_index=0
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 200 == 0:
            print(f"step {step + 1}/{steps}  loss {running:.4f}  {time.monotonic() - began:.0f} s", flush=True)
    model.eval()


@torch.no_grad()
def task_score(
    model: OPTForCausalLM, tokenizer: PreTrainedTokenizerFast, split: grammar.SplitName
) -> tuple[float, float]:
    """(accuracy, cross-entropy) over the label words at the prompt's last position, untouched model."""
    words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in grammar.TASK_LABEL_WORDS]
    rows = grammar.task_split(split)
    hits, total = 0, 0.0
    for i in range(0, len(rows), 128):
        chunk = rows[i : i + 128]
        batch = tokenizer([grammar.TASK_PROMPT.format(text=t) for t, _ in chunk], padding=True, return_tensors="pt")
        last = batch["attention_mask"].sum(1) - 1
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        scores_BC = logits[torch.arange(len(chunk)), last][:, words]
        labels = torch.tensor([label for _, label in chunk])
        hits += int((scores_BC.argmax(1) == labels).sum())
        total += float(torch.nn.functional.cross_entropy(scores_BC, labels, reduction="sum"))
    return hits / len(rows), total / len(rows)


def main() -> None:
    """Build, train, save, digest, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder to write (default: the built-in model's)")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps (fewer for a quick look)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    pretrain(model, tokenizer, args.steps)

    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(args.out)
    model.save_pretrained(args.out)
    digest = hashlib.sha256((args.out / "model.safetensors").read_bytes()).hexdigest()
    (args.out / "DIGEST").write_text(f"{digest}  model.safetensors\n", encoding="utf-8")
    for split in ("validation", "test"):
        accuracy, loss = task_score(model, tokenizer, split)
        print(f"zero-shot {split}: accuracy {accuracy:.4f}, loss {loss:.4f}")
    print(f"sha256 {digest}")


if __name__ == "__main__":
    main()
