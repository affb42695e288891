"""Conditions of language patches: parsed, and decided by rules where rules suffice."""

from errata._moved import forward

__getattr__ = forward(__name__)
