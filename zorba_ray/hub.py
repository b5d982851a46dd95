"""The Hugging Face hub: whether it answers, which commit a name stands for, and who may not read it.

A token is left to huggingface_hub (`hf auth login`, HF_TOKEN). Nothing here reads it, so that nothing can write it.
"""

import functools
from pathlib import Path
from typing import Literal

_WAIT_S = 2.0
_COMMIT = 40
"""Hexadecimal digits of a commit."""


@functools.cache
def hub_answers() -> bool:
    """Whether the hub (HF_ENDPOINT) answers this process within _WAIT_S, by its proxies if any are set.

    A gateway that answers in its place (407, or 5xx) is no hub. HF_HUB_OFFLINE=1 is no, without asking.
    """
    from huggingface_hub import constants, get_session

    try:
        status = get_session().head(constants.ENDPOINT, timeout=_WAIT_S).status_code
    except Exception:  # of the library that huggingface_hub uses, which changes; offline mode
        status = 0
    there = 0 < status < 500 and status != 407
    if not there:  # else the library asks again, for ends of its own, whatever is read from the cache alone
        constants.HF_HUB_OFFLINE = True
    return there


def hub_commit(kind: Literal["model", "dataset"], path: str, revision: str | None) -> str | None:
    """The commit that a branch or tag of a hub id stands for now; without a network, when it was fetched last.

    None where `path` is no hub id, or nobody knows: loading it says why.
    """
    local = path == "builtin" or path.startswith((".", "/", "~", "package:")) or Path(path).exists()
    if local or path.count("/") > 1:
        return None
    if revision is not None and len(revision) == _COMMIT and set(revision) <= set("0123456789abcdef"):
        return revision
    from huggingface_hub import HfApi, constants

    try:
        if hub_answers():
            return HfApi().repo_info(path, repo_type=kind, revision=revision).sha
        folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{path.replace('/', '--')}" / "refs"
        return (folder / (revision or "main")).read_text(encoding="utf-8").strip() or None
    except Exception:  # of that library and what it uses
        return None


def gate(error: BaseException | None) -> str | None:
    """What to do where the hub refuses a gated repository, None where something else went wrong."""
    from huggingface_hub.errors import GatedRepoError

    while error is not None:
        if isinstance(error, GatedRepoError):
            return "it is gated: accept its terms on its page of the hub, then log in with `hf auth login` or HF_TOKEN"
        error = error.__cause__ or error.__context__
    return None
