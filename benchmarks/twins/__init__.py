"""Naive twins of published zeroth-order algorithms, to be timed beside ours; written from the papers, kept plain.

What they are given is what ours gets: the same network, batches, dtype and head (label words at the last position
only). What they move is a list of tensors that the caller names, so that both sides can move the same ones.
"""

from benchmarks.twins.decomfl import DecomflTwin
from benchmarks.twins.losses import plain_loss
from benchmarks.twins.mezo import MezoTwin, mezo_pass

__all__ = ["DecomflTwin", "MezoTwin", "mezo_pass", "plain_loss"]
