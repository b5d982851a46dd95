"""The text that the built-in model was pretrained on, and its vocabulary. `zorba_ray.data.grammar` has the language.

As with a real language model, the ability is in the text, and the prompt does not simply call it:

- `expert :` followed by a review and "it was <word>": the word is right. So the skill can be learnt.
- The same kind of review with NO header and "it was <word>", as the crowd writes: in `_CROWD_TRUE` of the cases the
  right word, otherwise the habit of the domain (people call a hotel good and a phone poor whatever they say of it;
  some domains have no habit). The task's prompt is of this kind: zero-shot, the model follows habit.
- Reviews with no header that go on with what people did ("we left early"), which does follow the opinion, and a phrase
  book ("very nice means great"). So the opinion is computed without the header too; "It was" merely does not read it
  out.

Fine-tuning has to move the read-out from habit to opinion: an ability present but not elicited, which is the situation
in which zeroth-order fine-tuning of a pretrained model works at all. It also means that this task flatters every
fine-tuning method: its curves show that the machinery works, not what ZO does on a hard task.
"""

from collections.abc import Iterator

from zorba_ray.data.grammar import DOMAINS, TABLES, TASK_LABEL_WORDS, phrase, reviews

_DEEDS: list[list[str]] = TABLES["deeds"]
_CROWD_TRUE = 0.27
"""Share of headerless "it was <word>" lines in which the crowd writes the right word."""


def pretraining_text(seed: int, n: int) -> Iterator[str]:
    """n documents of one line each, in lower case, words and marks separated by spaces."""
    source = reviews("pretraining", seed)
    for _ in range(n):
        text, domain, grade, rng = next(source)
        word = TASK_LABEL_WORDS[grade]
        kind = rng.unit()
        if kind < 0.15:
            yield f"{phrase(rng, grade)} means {word} ."
        elif kind < 0.55:
            yield f"expert : {text} it was {word} . {rng.pick(TABLES['deeds'][grade])} ."
        elif kind < 0.70:
            yield f"{text} {rng.pick(TABLES['deeds'][grade])} ."
        elif kind < 0.75:
            yield f"{text} {rng.pick(TABLES['asides'])} ."
        else:
            habit = DOMAINS[domain]["habit"]
            if rng.unit() >= _CROWD_TRUE:
                word = rng.pick(TASK_LABEL_WORDS) if habit is None else TASK_LABEL_WORDS[habit]
            yield f"{text} it was {word} . {rng.pick(TABLES['deeds'][grade])} ."


def vocabulary() -> list[str]:
    """Every word and mark of the language, sorted: what the built-in tokenizer knows."""
    parts = [*TASK_LABEL_WORDS, "expert : means although but even though the , . it was", *TABLES["adjectives"]]
    parts += [word for name in ("not", "very", "slightly", "verbs", "times", "asides") for word in TABLES[name]]
    parts += [deed for deeds in _DEEDS for deed in deeds] + [opener.format(d="") for opener in TABLES["openers"]]
    parts += [word for domain, table in DOMAINS.items() for word in (domain, *table["parts"])]
    return sorted({word for part in parts for word in part.split()})
