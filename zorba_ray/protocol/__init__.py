"""Messages, frames, the ledger and its replay, and the count of bytes."""
