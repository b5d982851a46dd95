"""The type of templates: text with names of columns in braces."""

import string
from typing import Annotated

from pydantic import AfterValidator, Field

from zorba_ray.printable import shown


def _template(value: str) -> str:
    try:
        parts = [part for part in string.Formatter().parse(value) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"not a template: {error}; columns stand in braces, as in '{{text}} It was'") from error
    # Formats are refused: a width such as {text:9999999999} would make that many characters.
    for _, name, form, conversion in parts:
        if form or conversion:
            raise ValueError(
                f"not a template for text: the field {shown(name)} has a format or a conversion; write only the name "
                "of the column, as in '{text}'"
            )
    if not parts or not all(name and name.isidentifier() for _, name, _, _ in parts):
        raise ValueError(
            "a template needs at least one column in braces, as in '{text} It was', and nothing else in braces"
        )
    return value


TemplateText = Annotated[str, Field(max_length=20_000), AfterValidator(_template)]
"""Text with at least one column in braces, without formats."""
