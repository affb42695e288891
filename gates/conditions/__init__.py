"""Conditions of language patches: parsed, and decided by rules where rules suffice."""

from errata.deprecation import forward

__getattr__ = forward(__name__)
