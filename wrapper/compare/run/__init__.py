"""Runs of a comparison: backends, evaluation, records."""
