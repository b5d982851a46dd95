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


def latex_table(columns: Sequence[str], rows: Sequence[Sequence[str]], flush: str, caption: str, label: str) -> str:
    """A `table*` float of plain text, escaped here; `flush` has l or r for each column.

    A first column that is long is set in lines of its own, a fifth of the page wide.
    """
    form = flush if max((len(row[0]) for row in rows), default=0) <= _LONG else "p{0.2\\textwidth}" + flush[1:]
    head, *body = (" & ".join(map(escape, cells)) + r" \\" for cells in (columns, *rows))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{3pt}",
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{form}}}",
        r"    \toprule",
        f"    {head}",
        r"    \midrule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"
