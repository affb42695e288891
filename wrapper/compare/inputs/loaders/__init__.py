"""Formats of edits and questions: one module a format."""
