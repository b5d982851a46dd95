"""Whether W&B is used online, offline or not at all: decided here, before wandb is imported, without asking."""

import configparser
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from zorba_ray.errors import ConfigError

Mode = Literal["online", "offline", "disabled"]

PUBLIC_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Names of W&B's own service: which of them is the default depends on wandb's version, and keys serve both."""


def resolve_mode(setting: str, environ: Mapping[str, str] | None = None) -> Mode:
    """The mode for a value of `tracking.wandb`.

    `auto` is what WANDB_MODE says if that is `offline` or `disabled`, else online where a key is configured
    (`has_credentials`), else offline. The other settings stand for themselves.

    Args:
        environ: environment variables; None is those of this process.

    Raises:
        ConfigError: an unknown setting.
    """
    environ = os.environ if environ is None else environ
    if setting in ("online", "offline", "disabled"):
        return setting
    if setting != "auto":
        raise ConfigError(f"tracking.wandb = {setting!r}: must be auto, online, offline or disabled")
    wished = environ.get("WANDB_MODE")
    if wished in ("offline", "disabled"):
        return wished
    return "online" if has_credentials(environ) else "offline"


def has_credentials(environ: Mapping[str, str]) -> bool:
    """Whether WANDB_API_KEY is set or a netrc file has a password for the W&B host.

    The host is that of WANDB_BASE_URL, else the one kept by `wandb login --host`, else W&B's own.
    """
    if environ.get("WANDB_API_KEY", "").strip():
        return True
    try:
        entries = netrc.netrc(_netrc_path(environ))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    found = (entries.authenticators(host) for host in _hosts(environ))
    return any(entry is not None and entry[2] for entry in found)


def _hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    url = environ.get("WANDB_BASE_URL") or _configured_url(environ)
    host = urlsplit(url).netloc
    return (host,) if host and host not in PUBLIC_HOSTS else PUBLIC_HOSTS


def _configured_url(environ: Mapping[str, str]) -> str:
    """base_url of wandb's settings file, "" where there is none."""
    folder = environ.get("WANDB_CONFIG_DIR") or _home(environ) / ".config" / "wandb"
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(Path(folder) / "settings", encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return ""
    return settings.get("default", "base_url", fallback="")


def _netrc_path(environ: Mapping[str, str]) -> Path:
    """As wandb looks for it: NETRC, ~/.netrc, ~/_netrc."""
    if environ.get("NETRC"):
        return Path(environ["NETRC"]).expanduser()
    usual = _home(environ) / ".netrc"
    return usual if usual.exists() else _home(environ) / "_netrc"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path("~").expanduser()
