"""Whether W&B is used online, offline or not at all: decided here, before wandb is imported, without asking."""

import configparser
import os
from pathlib import Path
from typing import Literal

Mode = Literal["online", "offline", "disabled"]

PUBLIC_HOSTS = ("https://api.wandb.ai", "https://api.forge.coreweave.com")
"""W&B's own service: which of them is the default depends on wandb's version, and keys serve both."""


def resolve_mode(setting: Literal["auto", "online", "offline", "disabled"]) -> Mode:
    """The mode for a value of `tracking.wandb`.

    `auto` is what WANDB_MODE says if that is `offline` or `disabled`, else online where a key is configured
    (`has_credentials`), else disabled. The other settings stand for themselves.
    """
    if setting != "auto":
        return setting
    wished = os.environ.get("WANDB_MODE")
    if wished == "offline" or wished == "disabled":
        return wished
    return "online" if has_credentials() else "disabled"


def has_credentials() -> bool:
    """Whether WANDB_API_KEY is set or a netrc file has a password for the W&B host.

    The host is that of WANDB_BASE_URL, else the one kept by `wandb login --host`, else W&B's own.
    """
    if os.environ.get("WANDB_API_KEY", "").strip():
        return True
    from requests.utils import get_netrc_auth

    url = (os.environ.get("WANDB_BASE_URL") or _configured_url()).rstrip("/")
    hosts = (url,) if url and url not in PUBLIC_HOSTS else PUBLIC_HOSTS
    found = (get_netrc_auth(host) for host in hosts)
    return any(login is not None and login[1] for login in found)


def _configured_url() -> str:
    """base_url of wandb's settings file, "" where there is none."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(Path(folder) / "settings", encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return ""
    return settings.get("default", "base_url", fallback="")
