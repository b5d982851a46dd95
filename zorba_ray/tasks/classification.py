"""`classification`: a row is a prompt, whose label is one of `data.label_words`."""

import dataclasses

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import OptionTable, Split, TokenTable, prompt_tail
from zorba_ray.models import LoadedModel
from zorba_ray.models.answer_tokens import LabelTokens, read_label_tokens
from zorba_ray.tasks.base import PromptRows, TaskRows, TokenSplit


class LabelWordRows(TaskRows):
    """For a causal LM: rows end where the label word begins, and that it follows there is checked."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        super().__init__(config, loaded)
        self.words: LabelTokens = read_label_tokens(self.tokenizer, self.data.prompt, self.data.label_words)

    def encode(self, split: Split, name: str) -> TokenSplit:
        options = OptionTable.shared(self.words.options) if self.words.whole else None
        # The last token of a word is scored and never read.
        following = [0 if options is None else options.longest - 1] * len(split)
        encoded = self.encoded_prompts(split, name, self.words.encode, following)
        every = not prompt_tail(self.data.prompt).strip()
        self.words.check_rows(encoded.texts, encoded.tokens, every, lambda row: split.row(row, name))
        table = TokenTable.from_lists(encoded.tokens, split.labels)
        return TokenSplit(dataclasses.replace(table, options=options), encoded.cut)


class LabelPromptRows(PromptRows):
    """For a sentence encoder, which pools all tokens of the prompt."""
