"""The section of a ledger's header that says how reports were made private.

It has the clip, the noise multiplier, and a mark by which the secret of the clients is known again. The noise itself
follows from the secret, which is in no message.
"""

import struct
from collections.abc import Mapping

from zorba_ray.privacy import GaussianMechanism, Secret
from zorba_ray.protocol.messages import Section

_NAME, _LAYOUT = "privacy", "<dd8s"


def noise_section(noise: GaussianMechanism | None, secret: Secret | None = None) -> dict[str, Section]:
    """Of a header; none where reports have no noise. Without a secret its mark is zeros, as of a run that has not
    begun."""
    if noise is None:
        return {}
    content = struct.pack(_LAYOUT, noise.clip, noise.multiplier, bytes(8) if secret is None else secret.mark)
    return {_NAME: Section(1, content, required=True)}


def noise_of(sections: Mapping[str, Section]) -> GaussianMechanism | None:
    """What a header's sections say."""
    section = sections.get(_NAME)
    if section is None:
        return None
    clip, multiplier, _ = struct.unpack(_LAYOUT, section.content)
    return GaussianMechanism(clip, multiplier)
