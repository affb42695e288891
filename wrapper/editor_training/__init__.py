"""Training of editors: ``errata editor train``."""
