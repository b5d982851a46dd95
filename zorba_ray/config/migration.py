"""Settings of older programs under the names that they have now."""

from typing import Any


def renamed(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of a run's settings in which `zo.clip_spread` is `federation.aggregate: clip_spread`. For files of runs;
    in settings that somebody writes the old name is refused (`refuse_old_names`)."""
    zo, federation = tree.get("zo"), tree.get("federation")
    if not isinstance(zo, dict) or not isinstance(federation, dict) or zo.get("clip_spread") is None:
        return tree
    return {
        **tree,
        "zo": {key: value for key, value in zo.items() if key != "clip_spread"},
        "federation": {**federation, "aggregate": "clip_spread", "spread": zo["clip_spread"]},
    }


def refuse_old_names(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tree` without old settings that say nothing.

    Raises:
        ValueError: an old setting that says something; names the new one.
    """
    zo = tree.get("zo")
    if not isinstance(zo, dict) or "clip_spread" not in zo:
        return tree
    if zo["clip_spread"] is not None:
        raise ValueError(
            f"zo.clip_spread={zo['clip_spread']} is now federation.aggregate=clip_spread with federation.spread="
            f"{zo['clip_spread']}: set these two"
        )
    return {**tree, "zo": {key: value for key, value in zo.items() if key != "clip_spread"}}
