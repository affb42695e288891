"""Evaluation of gates; never imported at run time."""
