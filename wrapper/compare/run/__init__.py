"""Running a comparison: backends, evaluation, records."""
