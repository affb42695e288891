"""The models that errata knows by name, and one function that loads these and any other."""
