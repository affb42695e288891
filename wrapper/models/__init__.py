"""Models that come with errata, and loading any other."""
