"""Conditions of language patches: parsed, and decided by rules where rules suffice."""
