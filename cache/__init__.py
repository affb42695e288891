"""Edits: records, files, index and store. Never imports torch."""
