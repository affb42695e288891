"""The gate: decides whether an edit governs a query."""
