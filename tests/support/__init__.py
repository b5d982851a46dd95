"""Shared by the tests: tiny models, and a naive round written straight from algorithm.md."""
