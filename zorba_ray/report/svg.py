"""Turns matplotlib's SVG into SVG for a page: smaller, with CSS variables as colours, and tooltips on points.

Text stays text, so that the browser draws it in any script. Colours become CSS variables, so that the light and the
dark scheme both work.
"""

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from markupsafe import Markup

COLOURS = {
    "#000000": "ink", "#ffffff": "card", "#6b6b6b": "soft", "#e3e3e3": "grid", "#eef1f4": "off",
    "#9ecae8": "pale", "#0072b2": "blue", "#d55e00": "red", "#009e73": "green", "#cc79a7": "pink",
    "#e69f00": "amber", "#56b4e9": "sky",
}  # fmt: skip
"""Colour of a figure in the light scheme -> CSS variable; page.css.j2 has both schemes."""

_TEXT_STYLE = {"font-size", "text-anchor", "font-weight"}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"#([\w-]+)")


def inline_svg(source: str, label: str, tips: Mapping[str, str]) -> Markup:
    """The figure as an HTML element. `label` is its alternative text; `tips`: gid of an artist -> its tooltip.

    Raises:
        xml.etree.ElementTree.ParseError: `source` is not XML.
    """
    prefix = f"f{hashlib.sha256((source + label).encode()).hexdigest()[:8]}-"
    root = ET.fromstring(source)
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = {name for node in root.iter() for value in node.attrib.values() for name in _REFERENCE.findall(value)}
    for node in list(root.iter()):
        _shrink(node, prefix, used, tips)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib |= {"class": "plot", "viewBox": box, "role": "img", "aria-label": label}
    # HTML knows these elements by name, so namespaces, which are web addresses, are not needed.
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=True))


def _shrink(node: ET.Element, prefix: str, used: set[str], tips: Mapping[str, str]) -> None:
    name = node.attrib.pop("id", "")
    if node.tag != "text":
        node.text = None
    node.tail = None
    for key in list(node.attrib):
        value = node.attrib.pop(key)
        key = key.rpartition("}")[2]
        if key == "style":
            value = _style(value, node.tag)
        elif key == "href" and value.startswith("#"):
            value = f"#{prefix}{value[1:]}"
        elif key == "clip-path":
            value = value.replace("#", f"#{prefix}")
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        elif key in ("d", "x", "y", "points", "transform", "width", "height"):
            value = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
            value = " ".join(value.split())
        if value:
            node.set(key, value)
    if name in tips:
        node.set("class", "mark")
        title = ET.Element("title")
        title.text = tips[name]
        node.insert(0, title)
    elif name in used:
        node.set("id", prefix + name)


def _style(text: str, tag: str) -> str:
    declarations = []
    for part in text.split(";"):
        key, value = (side.strip() for side in part.partition(":")[::2])
        if tag == "text" and key not in _TEXT_STYLE | {"fill", "opacity"}:
            continue
        if not key or (key, value) in (("stroke-linejoin", "miter"), ("stroke-linecap", "square")):
            continue
        variable = COLOURS.get(value.lower())
        declarations.append(f"{key}:{f'var(--{variable})' if variable else value}")
    return ";".join(declarations)
