"""Tasks: how rows become tokens, one file each. What a loss is of them is said in `models/heads.py`."""

from zorba_ray.config import ExperimentConfig
from zorba_ray.models import LoadedModel
from zorba_ray.models.heads import head_kind
from zorba_ray.tasks.base import TaskRows, TokenSplit
from zorba_ray.tasks.chat import ChatRows
from zorba_ray.tasks.classification import LabelPromptRows, LabelWordRows
from zorba_ray.tasks.completion import CompletionRows
from zorba_ray.tasks.language_model import LanguageModelRows
from zorba_ray.tasks.multiple_choice import MultipleChoiceRows

__all__ = ["TokenSplit", "rows_of"]


def rows_of(config: ExperimentConfig, loaded: LoadedModel) -> TaskRows:
    """The rows of a configuration's task.

    Raises:
        ConfigError: label words, templates or columns that the model's tokenizer cannot serve.
    """
    kind, head = config.row_kind, head_kind(config.model, config.row_kind, loaded)
    if kind == "classification":
        return LabelWordRows(config, loaded) if head == "label_words" else LabelPromptRows(config, loaded)
    if config.task.messages_column is not None:
        return ChatRows(config, loaded)
    kinds = {
        "multiple_choice": MultipleChoiceRows,
        "completion": CompletionRows,
        "generation": CompletionRows,
        "language_model": LanguageModelRows,
    }
    return kinds[kind](config, loaded)
