"""The hub: a reader for each format, a writer for each framework, and what stands between. Values in, values out."""
