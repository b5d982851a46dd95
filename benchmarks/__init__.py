"""Measurements, one entry for all: `python -m benchmarks NAME [--quick] [--json]`."""
