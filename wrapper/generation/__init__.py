"""One call of ``generate``: request, prompts, base model and streaming."""
