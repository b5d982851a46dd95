"""Documents keep to the lengths that they promise, and what does not would be seen."""

from tools.plain_sentences import faults, long_lines, long_sentences, too_long


def test_documents_are_short() -> None:
    assert faults() == []


def test_what_is_too_long_is_named_with_its_line() -> None:
    long = " ".join(["word"] * 31)
    text = f"# {long}\n\nShort. {long}. Short.\n\n```\n{long}\n```\n\n- {long}\n- Short.\n\n| {long} |\n| --- |\n"
    assert [fault.split(":")[0] for fault in long_sentences(text)] == ["3", "9", "12"]
    assert next(long_sentences("a line.\n" * 7)) == "1: a paragraph of 7 lines; 6 at most"
    assert list(long_sentences("a line.\n" * 6 + "\n" + "- an item.\n" * 9)) == []
    assert list(long_sentences(f"{long[:-10]} [word](https://example.com/a-target).")) == []
    assert list(long_lines("x" * 200 + "\n" + "x" * 201)) == ["2: a line of 201 characters, 200 at most"]
    assert list(too_long("a\n" * 120)) == []
    assert len(list(too_long("a b c d e f g h i\n" * 121))) == 2
