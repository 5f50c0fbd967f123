"""Model files to graphs: one file a format."""
