"""Whether W&B is used online, offline or not at all: decided here, before wandb is imported, without asking."""

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from zorba_ray.errors import ConfigError

Mode = Literal["online", "offline", "disabled"]

DEFAULT_URL = "https://api.wandb.ai"


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
    """Whether WANDB_API_KEY is set or a netrc file has a password for the W&B host (WANDB_BASE_URL)."""
    if environ.get("WANDB_API_KEY", "").strip():
        return True
    host = urlsplit(environ.get("WANDB_BASE_URL") or DEFAULT_URL).netloc
    try:
        entry = netrc.netrc(_netrc_path(environ)).authenticators(host) if host else None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    return entry is not None and bool(entry[2])


def _netrc_path(environ: Mapping[str, str]) -> Path:
    """As wandb looks for it: NETRC, ~/.netrc, ~/_netrc."""
    if environ.get("NETRC"):
        return Path(environ["NETRC"]).expanduser()
    home = Path(environ["HOME"]) if environ.get("HOME") else Path("~").expanduser()
    usual = home / ".netrc"
    return usual if usual.exists() else home / "_netrc"
