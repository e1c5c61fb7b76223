"""The dashboard: what people look at, and where they lend a hand."""
