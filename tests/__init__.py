"""Tests. `python -m pytest` from the repository's root finds `tests.support`."""
