"""A booktabs table for LaTeX. Any text compiles: what pdfLaTeX cannot set is written out."""

from collections.abc import Sequence

_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "…": r"\dots{}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "−": r"\ensuremath{-}",
    "α": r"\ensuremath{\alpha}",
    "ε": r"\ensuremath{\varepsilon}",
    "η": r"\ensuremath{\eta}",
    "θ": r"\ensuremath{\theta}",
    "μ": r"\ensuremath{\mu}",
    "ρ": r"\ensuremath{\rho}",
}

_LONG = 24


def escape(text: str) -> str:
    """Text as LaTeX shows it: no character of it is a command."""
    return "".join(_SIGNS.get(sign) or _other(sign) for sign in text)


def _other(sign: str) -> str:
    if sign.isspace():
        return " "
    # Latin-1 letters need no package, eth and thorn apart; anything beyond would stop pdfLaTeX.
    if 0x20 <= ord(sign) < 0x7F or (0xC0 <= ord(sign) <= 0xFF and sign.isalpha() and sign not in "ÐðÞþ"):
        return sign
    return rf"\texttt{{U+{ord(sign):04X}}}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int, caption: str, label: str) -> str:
    """A `table*` float of plain text, escaped here; the first `text_columns` are flush left, the others right.

    A first column that is long is set in lines of its own, a fifth of the page wide.
    """
    first = "l" if max(len(row[0]) for row in rows) <= _LONG else "p{0.2\\textwidth}"
    form = first + "l" * (text_columns - 1) + "r" * (len(columns) - text_columns)
    body = "\n".join("    " + " & ".join(escape(cell) for cell in row) + r" \\" for row in rows)
    head = " & ".join(escape(column) for column in columns)
    return (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{table*}\n"
        "  \\centering\n"
        "  \\footnotesize\n"
        "  \\setlength{\\tabcolsep}{3pt}\n"
        f"  \\caption{{{escape(caption)}}}\n"
        f"  \\label{{{label}}}\n"
        f"  \\begin{{tabular}}{{{form}}}\n"
        "    \\toprule\n"
        f"    {head} \\\\\n"
        "    \\midrule\n"
        f"{body}\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table*}\n"
    )
