"""`language_model`: every token of the text is learnt from those before it."""

from zorba_ray.tasks.base import PromptRows


class LanguageModelRows(PromptRows):
    """The prompt as it stands, which needs a token that has another one before it."""

    least = 2
