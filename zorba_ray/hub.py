"""Whether the Hugging Face hub answers: asked once, so that nobody waits for retries where there is no network."""

import functools

_WAIT_S = 3.0


@functools.cache
def hub_answers() -> bool:
    """Whether the hub (HF_ENDPOINT) can be reached from this process, by its proxies if any are set."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_WAIT_S)
    except Exception as error:  # of the library that huggingface_hub uses, which changes; offline mode
        return type(error).__name__ == "ReadTimeout"  # somebody is there, and slow
    return True
