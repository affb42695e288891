"""Building atlas."""
