"""Examples for training and evaluating reasoners; never imported at run time."""
