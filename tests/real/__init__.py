"""Tests on the shared data and models."""
