"""Building the list of names that comes along with the cache."""
