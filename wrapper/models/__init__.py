"""The models that ship with errata, and one function that loads these and any other."""
