"""Reports of a comparison: estimates, tables, charts, pages."""
