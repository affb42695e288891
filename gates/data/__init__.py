"""Data for training and evaluating gates; never imported at run time."""

from errata._moved import forward

__getattr__ = forward(__name__)
