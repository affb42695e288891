"""The commands of ``errata``: parse, call, print. One file for each family of commands."""
