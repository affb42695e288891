"""Inputs of a comparison: cases in every known format, open questions, background edits."""
