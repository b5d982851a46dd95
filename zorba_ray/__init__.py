"""Zeroth-order federated fine-tuning of language models with heterogeneous block activation, on Ray."""

__version__ = "0.1.0"
