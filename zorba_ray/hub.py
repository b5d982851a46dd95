"""The Hugging Face hub: whether it answers, the commit of a branch or tag, and help with gated repositories.

Only huggingface_hub reads the token (`hf auth login`, HF_TOKEN). The code here never sees it, so it cannot write it to
a file.
"""

import functools
from pathlib import Path
from typing import Literal

_WAIT_S = 2.0
_COMMIT = 40
"""Hexadecimal digits of a commit."""


@functools.cache
def hub_answers() -> bool:
    """Whether the hub (HF_ENDPOINT) answers within _WAIT_S seconds; proxies of the environment are used.

    An answer 407 or 5xx is from a gateway, and counts as no answer. With HF_HUB_OFFLINE=1 the hub is not asked.
    """
    from huggingface_hub import constants, get_session

    try:
        status = get_session().head(constants.ENDPOINT, timeout=_WAIT_S).status_code
    except Exception:  # offline mode, or any error of the HTTP library that huggingface_hub uses
        status = 0
    answers = 0 < status < 500 and status != 407
    if not answers:  # otherwise the library would try again, even for files that are in the cache
        constants.HF_HUB_OFFLINE = True
    return answers


def hub_commit(kind: Literal["model", "dataset"], path: str, revision: str | None) -> str | None:
    """The commit of a branch or tag of a repository now; without a network, the commit when it was last downloaded.

    None if `path` is not a hub id, or if the commit cannot be found (loading it then reports the reason).
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
    except Exception:  # any error of huggingface_hub, or of the libraries that it uses
        return None


def gate(error: BaseException | None) -> str | None:
    """What the user can do if the hub refuses a gated repository; None if the error has another cause."""
    from huggingface_hub.errors import GatedRepoError

    while error is not None:
        if isinstance(error, GatedRepoError):
            return "it is gated: accept its terms on its page of the hub, then log in with `hf auth login` or HF_TOKEN"
        error = error.__cause__ or error.__context__
    return None
