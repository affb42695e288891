"""Reasoners: given a query and the edits in force, they answer."""
