"""The secret of a run's clients, and the key of each purpose that is derived from it.

Each client of a real federation would have a secret of its own. Here clients are simulated in shared processes, so one
secret of the run stands for all, and a client's keys follow from it by HKDF-SHA256 (RFC 5869). The secret is in no
message, not in the ledger, and does not follow from the seed.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zorba_ray.errors import ConfigError

SIZE = 32
"""Bytes of a secret and of a key."""


@dataclass(frozen=True)
class Secret:
    """The secret of the clients of one run. Its text form, a line of 64 hexadecimal digits, is what a file holds."""

    value: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "Secret":
        """From the operating system's random numbers."""
        return cls(os.urandom(SIZE))

    @classmethod
    def of_text(cls, text: str, origin: str) -> "Secret":
        """The secret that a file holds.

        Args:
            origin: the file, for messages.

        Raises:
            ConfigError: it is not 64 hexadecimal digits.
        """
        try:
            value = bytes.fromhex(text.strip())
        except ValueError:
            value = b""
        if len(value) != SIZE:
            raise ConfigError(
                f"{origin}: a secret is {2 * SIZE} hexadecimal digits on one line, this file has something else; put "
                "back the file that the run made, or make one with `openssl rand -hex 32`"
            )
        return cls(value)

    @property
    def text(self) -> str:
        """As `of_text` reads it."""
        return self.value.hex() + "\n"

    @property
    def mark(self) -> bytes:
        """8 bytes by which the secret is known again. They say nothing about it."""
        return hmac.new(self.value, b"zorba-ray v1 mark", hashlib.sha256).digest()[:8]


def client_key(secret: Secret, client: int, purpose: str, context: bytes = b"") -> bytes:
    """A key of 32 bytes. Keys of other clients, purposes or contexts are independent of it.

    Args:
        purpose: what the key is for, such as "noise".
        context: what it is for in particular, such as the SHA-256 of a plan.
    """
    info = b"\x00".join((b"zorba-ray v1", purpose.encode(), str(client).encode(), context))
    return HKDF(algorithm=SHA256(), length=SIZE, salt=None, info=info).derive(secret.value)
