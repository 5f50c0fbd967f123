"""Gluon: a HybridBlock over the same lowerings as the symbol's; its children are the author's modules."""

from zoo.converters.writers.mxnet import lowers

__all__ = ["lowers"]
