"""Whether LaTeX would take a table."""

import re


def assert_compiles(text: str) -> None:
    """What pdfLaTeX would stumble over: braces, environments, bare specials, columns, signs it has no glyph for."""
    bare = re.sub(r"(?m)^%.*$", "", text)
    bare = re.sub(r"\\[\\&%$#_{}]", lambda match: " \\\\ " if match[0] == "\\\\" else " ", bare)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0, "a closing brace too many"
    assert depth == 0, "a brace is not closed"
    assert re.findall(r"\\begin\{([a-z*]+)\}", bare) == re.findall(r"\\end\{([a-z*]+)\}", bare)[::-1]
    assert not re.search(r"[%$#~^\"`'_]", bare), "a special that is not escaped"
    assert set(bare) <= {chr(code) for code in (*range(0x20, 0x7F), *range(0xC0, 0x100))} | {"\n"}
    form = re.search(r"\\begin\{tabular\}\{(.*)\}\n", bare)
    assert form is not None
    columns = len(re.sub(r"p\{[^}]*\}", "p", form[1]))
    lines = bare[bare.index(r"\toprule") : bare.index(r"\bottomrule")].splitlines()
    assert {line.count("&") for line in lines if line.rstrip().endswith(r"\\")} == {columns - 1}
    commands = set(re.findall(r"\\([a-zA-Z]+)", bare))
    assert commands <= {
        "alpha", "begin", "bottomrule", "caption", "centering", "dots", "end", "ensuremath", "eta", "footnotesize",
        "label", "midrule", "mu", "pm", "rho", "setlength", "tabcolsep", "textasciicircum", "textasciigrave",
        "textasciitilde", "textbackslash", "textbar", "textgreater", "textless", "textquotedblright", "textquotesingle",
        "texttt", "textwidth", "theta", "times", "toprule", "varepsilon",
    }, commands  # fmt: skip
