"""A/B: which way of editing is right for a model and its edits."""
