"""Scripts that build shipped data and models; never part of the wheel."""
