"""Pages of the site that are made from other files: settings from their types, documents of the root, notebooks.

MkDocs runs this while it builds (`make docs`). Nothing is written into the tree.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import mkdocs_gen_files

from zorba_ray.config import ExperimentConfig

ROOT = Path(__file__).parents[1]
COPIED = {
    "architecture.md": "ARCHITECTURE.md",
    "notation.md": "NOTATION.md",
    "decisions.md": "DECISIONS.md",
    "changelog.md": "CHANGELOG.md",
    "clusters.md": "cluster/README.md",
    "sweeps-shipped.md": "tune_configs/README.md",
}
"""Page -> the document that it shows."""


def copied(text: str) -> str:
    """A document of the root as a page: links into docs/ lose their folder, other links of files lose their target."""
    text = re.sub(r"\]\((?:\.\./)?docs/([^)]+)\)", r"](\1)", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|[a-z-]+\.md|figures/)[^)]+\)", r"\1", text)


def notebook_page(path: Path) -> str:
    """A notebook as a page: its text, its code and what the code printed; pictures become files beside the page."""
    parts: list[str] = []
    for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{number}.png"
                with mkdocs_gen_files.open(f"examples/{name}", "wb") as file:
                    file.write(base64.b64decode(data["image/png"]))
                parts.append(f"![What this code draws]({name})")
            else:
                printed = "".join(output.get("text", data.get("text/plain", ())))
                parts.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def values(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a setting may be, in words: its choices, its type, its bounds."""
    if "$ref" in schema:
        return values(definitions[schema["$ref"].split("/")[-1]], definitions)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(values(part, definitions) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return "a list"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = " ".join(f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema)
    return " ".join(filter(None, (str(schema.get("type", "any")).replace("null", "none"), bounds)))


def settings_page() -> str:
    """A table per section, from the JSON schema."""
    schema = ExperimentConfig.model_json_schema()
    definitions = schema["$defs"]
    lines = [
        "# Settings",
        "",
        "Made from the program's own types. A setting stands in a YAML file under its section,",
        "or on the command line as `section.name=value`. `zorba-ray schema` prints the same.",
    ]

    def table(title: str, properties: dict[str, Any], prefix: str) -> None:
        rows = []
        for name, entry in properties.items():
            inner = definitions.get(entry.get("$ref", "").split("/")[-1], {})
            if "properties" in inner:
                continue
            default = f"`{entry['default']}`" if "default" in entry else ""
            meaning = " ".join(entry.get("description", inner.get("description", "")).split()).replace("|", "\\|")
            rows.append(f"| `{prefix}{name}` | {values(entry, definitions)} | {default} | {meaning} |")
        if rows:
            lines.extend(
                ["", f"## {title}", "", "| setting | values | default | meaning |", "| --- | --- | --- | --- |"]
            )
            lines.extend(rows)
        for name, entry in properties.items():
            inner = definitions.get(entry.get("$ref", "").split("/")[-1], {})
            if "properties" in inner:
                table(prefix + name, inner["properties"], f"{prefix}{name}.")

    table("A run", schema["properties"], "")
    return "\n".join(lines) + "\n"


for page, source in COPIED.items():
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(copied((ROOT / source).read_text("utf-8")))
for path in sorted((ROOT / "examples").glob("*.ipynb")):
    with mkdocs_gen_files.open(f"examples/{path.stem}.md", "w") as file:
        file.write(notebook_page(path))
with mkdocs_gen_files.open("examples/index.md", "w") as file:
    file.write((ROOT / "examples" / "README.md").read_text("utf-8").replace(".ipynb)", ".md)"))
with mkdocs_gen_files.open("settings.md", "w") as file:
    file.write(settings_page())
