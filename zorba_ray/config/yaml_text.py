"""YAML as settings need it: plain values, in bounded time and memory whatever the text is.

A text is refused before anything is built from it: by its size, by how deep it nests, and by how many values it stands
for once its aliases are written out. Tags make nothing but the plain kinds. A number longer than numbers are stays
text, which the setting that wants a number then refuses by its name.
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
"""Of lists and mappings in each other."""
MOST_VALUES = 50_000
"""With every alias written out; keys count."""
MOST_CHARACTERS = 400
"""Of what is read as a number."""

_PLAIN = "tag:yaml.org,2002:"
# libyaml, where PyYAML was built with it, reads ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YAMLTextError(yaml.YAMLError):
    """A text that is YAML, but not of settings."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: not YAML, a key that stands twice, or more than settings can be; says the line where it can.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # bytes of a command line that are none
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
        ConfigError: missing, too large, not UTF-8, not YAML, not a mapping, or a key that stands twice; `what` names
            its role.
    """
    source = f"'{printable(shortened(str(path), 200))}'"
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ConfigError(
                f"{what} {source} is larger than {MOST_BYTES:,} bytes: settings are not; is it another file?"
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
    """Counts the parser's events, which come one by one: nothing is built of a text that is too deep or too long."""
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


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Values that a node stands for with its aliases written out; a merged mapping counts where it is merged.

    Raises:
        YAMLTextError: too many, or an alias stands inside of what it names.
    """
    if id(node) in known:
        counted = known[id(node)]
        if counted is None:
            raise YAMLTextError(f"an alias stands inside of what it names{_line(node.start_mark)}")
        return counted
    if not isinstance(node, yaml.CollectionNode):
        return 1
    known[id(node)] = None
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1
    for child in children:
        total += _count(child, known)
        if total > MOST_VALUES:
            raise YAMLTextError(
                f"more than {MOST_VALUES:,} keys and values once its aliases are written out{_line(node.start_mark)}"
            )
    known[id(node)] = total
    return total


def _line(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


class _Plain(yaml.constructor.SafeConstructor):
    """Text, numbers, truth values, lists and mappings; a mapping that names a key twice is an error, where plain YAML
    keeps the last and says nothing. What YAML 1.1 takes for a date stays text, as does an endless number."""

    def __init__(self) -> None:
        super().__init__()
        self._flat: set[int] = set()

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.removeprefix(_PLAIN)
        if kind not in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "value"):
            raise YAMLTextError(f"the tag {shown(node.tag)}{_line(node.start_mark)}: settings have none")
        number = kind in ("int", "float") and len(node.value) <= MOST_CHARACTERS
        if kind in ("timestamp", "value", "int", "float") and not number and isinstance(node, yaml.ScalarNode):
            return node.value
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
            # PyYAML converts what a tag says with plain int(), float() and look-ups.
            raise YAMLTextError(f"{shown(node.value)} is no {kind}{_line(node.start_mark)}") from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Writes merged keys out; PyYAML calls it before it reads a mapping, and for every mapping that is merged."""
        if not isinstance(node, yaml.MappingNode):  # a tag on something else
            raise YAMLTextError(f"not a mapping{_line(node.start_mark)}")
        if id(node) not in self._flat:  # nodes live as long as the document that is being read
            self._flat.add(id(node))
            self._require_unique(node)
            super().flatten_mapping(node)

    def _require_unique(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_PLAIN}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise YAMLTextError(f"a list or mapping cannot be a key{_line(key_node.start_mark)}")
            if key in seen:
                raise YAMLTextError(f"the key {shown(key)} stands twice{_line(key_node.start_mark)}")
            seen.add(key)
