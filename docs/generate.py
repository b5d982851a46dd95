"""Pages of the site that are made from other files: settings from the schema, and documents of the repository's root.

MkDocs runs this while it builds (`make docs`); nothing is written into the tree.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/zorba-ray/zorba-ray/blob/main"
COPIED = {
    "architecture.md": "ARCHITECTURE.md",
    "notation.md": "NOTATION.md",
    "decisions.md": "DECISIONS.md",
    "log.md": "LOG.md",
    "clusters.md": "cluster/README.md",
}
"""Page -> the document that it shows."""
