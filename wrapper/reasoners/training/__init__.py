"""Training of reasoners; never imported at run time."""
