"""Editors of weights: given edits, they plan changes; one place makes and undoes them."""
