"""How any editor is applied: changes, stack, lock, backends in use."""
