"""Whether the Hugging Face hub answers: asked once, so that nobody waits for retries where there is no network."""

import functools

_WAIT_S = 3.0


@functools.cache
def hub_answers() -> bool:
    """Whether the hub (HF_ENDPOINT) answers this process within _WAIT_S, by its proxies if any are set.

    A gateway that answers in its place (407, or 5xx) is no hub. HF_HUB_OFFLINE=1 is no, without asking.
    """
    from huggingface_hub import constants, get_session

    try:
        status = get_session().head(constants.ENDPOINT, timeout=_WAIT_S).status_code
    except Exception:  # of the library that huggingface_hub uses, which changes; offline mode
        return False
    return status != 407 and status < 500
