"""Pipelines: edits that take effect on a query's way, with the base's weights untouched."""
