"""Differential privacy of clients: keys, noise that only a client can draw, and the account of ε and δ."""

from zorba_ray.privacy.gaussian import delta_of, epsilon_of, multiplier_for
from zorba_ray.privacy.keys import Secret, client_key
from zorba_ray.privacy.mechanism import GaussianMechanism

__all__ = ["GaussianMechanism", "Secret", "client_key", "delta_of", "epsilon_of", "multiplier_for"]
