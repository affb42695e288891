"""Applying any editor: changes, stack, lock, active backends."""
