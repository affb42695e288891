"""Models that come with errata."""
