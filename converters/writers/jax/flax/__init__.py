"""A bound graph as a flax.nnx.Module: jax's lowerings, the author's tensors as nnx variables in his module tree."""

from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.jax import lowers as of_jax

lowers = Lowerings("flax", parent=of_jax)
