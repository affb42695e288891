"""What a comparison reports: estimates, tables, charts, pages."""
