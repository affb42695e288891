"""Trains, measures and exports atlas, the small language model that ships with errata."""
