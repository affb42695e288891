"""Vector and character indexes over the edits."""
