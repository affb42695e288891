"""Training of gates; never imported at run time."""
