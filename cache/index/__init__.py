"""Vector and character indexes over the edits."""

from errata.deprecation import forward

__getattr__ = forward(__name__)
