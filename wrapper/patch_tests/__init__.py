"""What ``errata check`` finds: problems of patches, and their tests, run through a model."""

from errata.deprecation import forward

__getattr__ = forward(__name__)
