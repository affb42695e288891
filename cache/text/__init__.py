"""Text: one normal form, subjects, aliases, answers and then clauses."""
