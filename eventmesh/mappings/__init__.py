"""Event source mappings: one source bound to one function, supervised."""
