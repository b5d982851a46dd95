"""Reads YAML for settings: only plain values, in bounded time and memory for any text.

A text is refused before values are built from it if it is too large, nests too deeply, or has too many values with its
aliases written out. Tags other than those of plain values are refused. A number of more than MOST_CHARACTERS stays
text; the setting that needs a number then refuses it, with its name.
"""

from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from zorba_ray.errors import ConfigError
from zorba_ray.printable import printable, shortened, shown

MOST_BYTES = 2**20
"""Of a file or text."""
MOST_DEPTH = 32
"""Of nested lists and mappings."""
MOST_VALUES = 50_000
"""Keys and values, with every alias written out."""
MOST_CHARACTERS = 400
"""Of a number."""

_PLAIN = "tag:yaml.org,2002:"
# libyaml, where PyYAML was built with it, reads ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YAMLTextError(yaml.YAMLError):
    """A text that is YAML, but cannot be settings."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: not YAML, a key that stands twice, or beyond a bound above; names the line if it is known.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # bytes of a command line that are not text
        raise YAMLTextError("it is not UTF-8") from error
    if len(text) > MOST_BYTES:
        raise YAMLTextError(f"it has {len(text):,} characters, settings have at most {MOST_BYTES:,}")
    _refuse_large(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if node is None:
        return None
    _count(node, {})
    return _Plain().construct_document(node)


def read_yaml(path: Path | Traversable, what: str) -> dict[str, Any]:
    """A mapping from a YAML or JSON file.

    Raises:
        ConfigError: missing, too large, not UTF-8, not YAML, not a mapping, or a key that stands twice. The message
            begins with `what`, the role of the file.
    """
    source = f"'{printable(shortened(str(path), 200))}'"
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ConfigError(
                f"{what} {source} is larger than {MOST_BYTES:,} bytes, the limit for settings: is it the right file?"
            )
        tree = parse_yaml(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{what} {source} cannot be read as UTF-8 text: {reason}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} {source} is not YAML for settings: {error}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{what} {source}: the top level must be a mapping of settings, got {type(tree).__name__}")
    return tree


def _refuse_large(text: str) -> None:
    """Counts the parser's events before any value is built, and refuses a text that nests too deeply or is too long."""
    depth, values = 0, 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise YAMLTextError(f"lists and mappings nest deeper than {MOST_DEPTH}{_line(event.start_mark)}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        values += isinstance(event, yaml.NodeEvent)
        if values > MOST_VALUES:
            raise YAMLTextError(f"more than {MOST_VALUES:,} keys and values{_line(event.start_mark)}")


def _count(node: yaml.Node, counts: dict[int, int | None]) -> int:
    """Number of values of a node with its aliases written out; a merged mapping counts in every mapping it is merged
    into.

    Raises:
        YAMLTextError: too many, or an alias stands inside its own anchor.
    """
    if id(node) in counts:
        counted = counts[id(node)]
        if counted is None:
            raise YAMLTextError(f"an alias refers to a value that contains it{_line(node.start_mark)}")
        return counted
    if not isinstance(node, yaml.CollectionNode):
        return 1
    counts[id(node)] = None
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1
    for child in children:
        total += _count(child, counts)
        if total > MOST_VALUES:
            raise YAMLTextError(
                f"more than {MOST_VALUES:,} keys and values once its aliases are written out{_line(node.start_mark)}"
            )
    counts[id(node)] = total
    return total


def _line(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


class _Plain(yaml.constructor.SafeConstructor):
    """Builds text, numbers, truth values, lists and mappings.

    A key that stands twice in a mapping is an error; plain YAML keeps the last one without a word. Dates of YAML 1.1
    and very long numbers stay text.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flat: set[int] = set()

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.removeprefix(_PLAIN)
        if kind not in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "value"):
            raise YAMLTextError(f"the tag {shown(node.tag)} is not allowed in settings{_line(node.start_mark)}")
        number = kind in ("int", "float") and len(node.value) <= MOST_CHARACTERS
        if kind in ("timestamp", "value", "int", "float") and not number and isinstance(node, yaml.ScalarNode):
            return node.value
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
            # PyYAML converts a tagged value with int(), float() and dictionary look-ups.
            raise YAMLTextError(f"{shown(node.value)} is not of type {kind}{_line(node.start_mark)}") from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Writes merged keys out. PyYAML calls it for every mapping that it reads or merges."""
        if not isinstance(node, yaml.MappingNode):  # a tag !!map on another kind of node
            raise YAMLTextError(f"not a mapping{_line(node.start_mark)}")
        if id(node) not in self._flat:  # nodes live as long as the document that is being read
            self._flat.add(id(node))
            self._require_unique(node)
            super().flatten_mapping(node)

    def _require_unique(self, node: yaml.MappingNode) -> None:
        keys = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_PLAIN}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise YAMLTextError(f"a list or mapping cannot be a key{_line(key_node.start_mark)}")
            if key in keys:
                raise YAMLTextError(f"the key {shown(key)} stands twice{_line(key_node.start_mark)}")
            keys.add(key)
