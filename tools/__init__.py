"""Scripts that build shipped data and models; not part of the wheel."""
