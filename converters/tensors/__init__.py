"""Tensor containers: one file a format, path to lazy tensors by name."""
