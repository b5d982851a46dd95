"""Messages and their bytes, the ledger, its replay, and the count of traffic."""
