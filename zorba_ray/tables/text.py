"""The format of numbers on pages, in terminals and in figures."""

import math
from collections.abc import Collection

from zorba_ray.units import format_bytes, format_seconds

NONE = "–"
_NAMES = {
    "fleet_vram_bytes": "fleet VRAM",
    "worst_share": "VRAM share",
    "bytes_up_per_client_round": "bytes up",
    "bytes_down_per_client_round": "bytes down",
    "wall_s": "wall time",
    "cpu_s": "CPU time",
}
_PARTS = {"macro_f1": "macro-F1", "mcc": "MCC", "token_f1": "token F1", "rouge_l": "ROUGE-L"}


def text_bytes(count: float | None) -> str:
    """45.5 -> '45.5 B'; 1536 -> '1.5 KiB'; None -> '–'."""
    if count is None:
        return NONE
    return f"{count:.4g} B" if abs(count) < 1024 and count != int(count) else format_bytes(count)


def text_loss(value: float | None) -> str:
    """Four decimals; '–' for None."""
    return NONE if value is None else f"{value:.4f}"


def text_percent(share: float | None) -> str:
    """0.6133 -> '61.3 %'; '–' for None."""
    return NONE if share is None else f"{100 * share:.1f} %"


def text_seconds(seconds: float | None) -> str:
    """'1.2 s', '3 min 5 s', and milliseconds below 0.1 s; '–' for None."""
    if seconds is None:
        return NONE
    return f"{1000 * seconds:.3g} ms" if 0 <= seconds < 0.1 else format_seconds(seconds)


def text_value(value: float | None) -> str:
    """Six digits; whole numbers with commas; '–' for None, '∞' for infinity."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{int(value):,}" if value == int(value) else f"{value:.6g}"


def text_count(count: int, noun: str) -> str:
    """'1 seed', '3 seeds'."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def text_range(values: Collection[int]) -> str:
    """From the smallest to the largest: '1–4', '1,200–3,000', or '4' where all are equal; '–' for none."""
    return "–".join(f"{value:,}" for value in sorted({min(values), max(values)})) if values else NONE


def text_gap(gap: float | None) -> str:
    """A relative gap in percent; a gap that comes from rounding counts as 0."""
    if gap is None or math.isnan(gap):
        return NONE
    if math.isinf(gap):
        return "unknown"
    return "0 %" if abs(gap) < 1e-9 else f"{100 * gap:.3g} %"


def text_figure(name: str, value: float | None) -> str:
    """A figure in the unit of its name: 'fleet_vram_bytes' in bytes, '…_accuracy' in percent, '…_s' in seconds."""
    if name.endswith(("loss", "reward")):
        return text_loss(value)
    if name.endswith(("accuracy", "share", "exact_match", "number_match")):
        return text_percent(value)
    if name.endswith(("macro_f1", "mcc", "token_f1", "rouge_l")):
        return NONE if value is None else f"{value:.3f}"
    if name.endswith("perplexity"):
        return NONE if value is None else f"{value:.4g}"
    if "bytes" in name:
        return text_bytes(value)
    return text_seconds(value) if name.endswith("_s") else text_value(value)


def text_span(name: str, low: float, high: float) -> str:
    """The interval of a figure, in the unit of its name: '94.5–97.8 %', '0.386–0.474'."""
    return f"{text_figure(name, low).removesuffix(' %')}–{text_figure(name, high)}"


def figure_name(name: str) -> str:
    """'validation_loss' -> 'validation loss', 'test_macro_f1' -> 'test macro-F1'."""
    if name in _NAMES:
        return _NAMES[name]
    for key, text in _PARTS.items():
        name = name.replace(key, text)
    return name.replace("_", " ")


def text_swept(value: float | str | None) -> str:
    """A swept value: numbers in six digits, 'none' for None."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)
