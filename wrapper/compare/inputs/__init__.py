"""What a comparison reads: cases, in every format of the field."""
