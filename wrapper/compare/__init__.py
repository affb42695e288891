"""Compare backends of editing on a model and its edits."""
