"""Pipelines: from queries to decisions, with the base model's weights unchanged."""
