"""Regex patches and secrets, applied to text."""
