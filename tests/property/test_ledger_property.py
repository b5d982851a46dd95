"""Random lives of a ledger: appends, torn ends, resumes. Nothing whole is lost and nothing half is kept."""

import shutil
import struct
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.ledger import FORMAT, LedgerWriter, read_ledger
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit, encode

HEADER = LedgerHeader(
    format=FORMAT, directions="zdir v1", method="zorba", weights_sha256="", manifest_sha256="", config_sha256="",
    partition_sha256="", data_sha256="", seed=0, seeds="shared", weights="data", distribution="gaussian", scope="all",
    directions_per_step=1, local_steps=1, samples=(1,), blocks=1, family="dense",
    rank=0, commits="scalars", pool=0, clip_spread=0.0,
)  # fmt: skip


class LedgerLife(RuleBasedStateMachine):
    """`bodies` is what the file must hold; `torn` what lies behind it."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.path = self.folder / "ledger.zl"
        self.writer = LedgerWriter.create(self.path, HEADER)
        self.bodies: list[bytes] = []
        self.torn = 0
        self.open = True

    @precondition(lambda self: self.open)
    @rule(clients=st.integers(0, 5), value=st.floats(width=32, allow_nan=False))
    def append(self, clients: int, value: float) -> None:
        ids = b"".join(struct.pack("<I", client) for client in range(clients))
        body = encode(RoundCommit(len(self.bodies) + 1, 0.1, ids, struct.pack("<f", value) * clients))
        self.writer.append(len(self.bodies) + 1, body)
        self.bodies.append(body)

    @precondition(lambda self: self.open)
    @rule(share=st.floats(0, 1, exclude_max=True))
    def killed_while_writing(self, share: float) -> None:
        """A record of which only the beginning reached the disk."""
        size = self.path.stat().st_size
        self.writer.append(len(self.bodies) + 1, encode(RoundCommit(len(self.bodies) + 1, 0.1, b"", b"")))
        self.writer.close()
        self.open = False
        record = self.path.stat().st_size - size
        self.torn = int(share * record)
        with self.path.open("r+b") as file:
            file.truncate(size + self.torn)

    @precondition(lambda self: self.open)
    @rule()
    def closed(self) -> None:
        self.writer.close()
        self.open = False

    @precondition(lambda self: not self.open)
    @rule()
    def resumed(self) -> None:
        self.writer, contents = LedgerWriter.resume(self.path)
        assert contents.torn_bytes == self.torn
        assert self.writer.last_round == len(self.bodies)
        self.torn, self.open = 0, True

    @precondition(lambda self: not self.open)
    @rule(place=st.integers(0, 2**31), bit=st.integers(0, 7))
    def damaged_and_mended(self, place: int, bit: int) -> None:
        """A flipped bit in whole records is refused and neither reading nor resuming changes the file."""
        data = self.path.read_bytes()
        whole = len(data) - self.torn
        damaged = bytearray(data)
        damaged[place % whole] ^= 1 << bit
        self.path.write_bytes(damaged)
        try:
            LedgerWriter.resume(self.path)
            raise AssertionError(f"bit {bit} of byte {place % whole} went unseen")
        except LedgerError:
            assert self.path.read_bytes() == bytes(damaged)
        self.path.write_bytes(data)

    @invariant()
    def holds_what_was_appended(self) -> None:
        if hasattr(self, "path"):
            found = read_ledger(self.path)
            assert [record.body for record in found.records] == self.bodies
            assert found.torn_bytes == self.torn
            assert [commit.round for commit in found.commits()] == list(range(1, len(self.bodies) + 1))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.writer.close()
            shutil.rmtree(self.folder)


TestLedgerLife = LedgerLife.TestCase
TestLedgerLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
