"""Vector and character indexes over the edits."""

from errata._moved import forward

__getattr__ = forward(__name__)
