"""Data for training and evaluating gates; never imported at run time."""

from errata.deprecation import forward

__getattr__ = forward(__name__)
