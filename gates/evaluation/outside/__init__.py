"""Evaluation of gates on other people's words."""
