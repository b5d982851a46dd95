"""Decides whether W&B is used online, offline or not at all, before wandb is imported, without asking the user."""

import configparser
import os
from pathlib import Path
from typing import Literal

Mode = Literal["online", "offline", "disabled"]

PUBLIC_HOSTS = ("https://api.wandb.ai", "https://api.forge.coreweave.com")
"""Hosts of W&B's service. The default depends on wandb's version; keys work on both."""


def resolve_mode(setting: Literal["auto", "online", "offline", "disabled"]) -> Mode:
    """The mode for a value of `tracking.wandb`.

    `auto` is the value of WANDB_MODE if that is `offline` or `disabled`; else online if a key is configured
    (`has_credentials`), else disabled. Other values are returned unchanged.
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
    logins = (get_netrc_auth(host) for host in hosts)
    return any(login is not None and login[1] for login in logins)


def _configured_url() -> str:
    """base_url in wandb's settings file; "" if there is none."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(Path(folder) / "settings", encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return ""
    return settings.get("default", "base_url", fallback="")
