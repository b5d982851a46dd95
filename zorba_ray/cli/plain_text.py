"""Output on terminals that cannot show every sign: each becomes a plain one instead of an error."""

import codecs
import sys
import unicodedata

_ONE = {
    "█": "#", "▓": "*", "▒": "+", "░": "-", "·": ".", "–": "-", "−": "-", "—": "-", "×": "x", "…": "~", "∞": "inf",
    "→": ">", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "ε": "e", "η": "n", "θ": "th", "μ": "u", "ρ": "r", "σ": "s",
    "Σ": "S", "β": "b", "ω": "w", "γ": "g", "α": "a", "²": "2",
}  # fmt: skip
"""One sign for one in tables, so that columns stay straight."""


def plain(text: str) -> str:
    """Text in ASCII: known signs by their stand-ins, letters without their marks, '?' for the rest."""
    found = []
    for sign in text:
        bare = _ONE.get(sign) or unicodedata.normalize("NFKD", sign)
        found.append(bare.encode("ascii", "ignore").decode() or "?")
    return "".join(found)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def never_fail() -> None:
    """Makes stdout and stderr write signs beyond their encoding as plain ones."""
    codecs.register_error("zorba-plain", _stand_in)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's stand-in for stdout may have none
        if reconfigure is not None:
            reconfigure(errors="zorba-plain")
