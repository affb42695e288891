"""Data for training and evaluating gates; never imported at run time."""
