"""Editors: methods that change weights or add parameters, one module each."""
