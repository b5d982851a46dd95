"""Where a zorba client's blocks live, as the memory model knows it."""

from dataclasses import dataclass

from zorba_ray.config import MemoryConfig


@dataclass(frozen=True)
class Policy:
    """`memory.frozen` and `memory.master`, and the row beside them: every block streamed, none resident."""

    frozen: str
    """`device` or `host`: where frozen blocks live."""
    master: str
    """`device` or `host`: where the fp32 master of active blocks lives."""
    resident: bool = True
    """Whether active blocks stay on the accelerator; False streams them too (as ZO2 does)."""

    @classmethod
    def of(cls, config: MemoryConfig) -> "Policy":
        """The policy of the settings."""
        return cls(config.frozen, config.master)

    @property
    def label(self) -> str:
        """For tables."""
        if not self.resident:
            return "all blocks streamed, none resident"
        return f"frozen {self.frozen}, master {self.master}"


STREAMED = Policy("host", "host", resident=False)
POLICIES = (
    Policy("device", "device"),
    Policy("device", "host"),
    Policy("host", "device"),
    Policy("host", "host"),
    STREAMED,
)
"""All of them, from the most resident to the least."""
