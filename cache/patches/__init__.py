"""Patch files: their format, their kinds of edits, and conflicts between them."""
