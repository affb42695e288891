"""The audit log: what was decided about each query, kept in SQLite, read again and replayed."""
