"""``errata serve``: OpenAI-compatible endpoints in front of a local model or an upstream server."""
