"""What the cache keeps on disk."""
