"""Which params stand as Flax's kernels do, so that no step transposes them: [H, W, C, M] and [K, N].

The author's tensors are [M, C, H, W] for a convolution and [N, K] for a linear layer. A param is turned where all that
read it are of one kind; `tensors` of the writer turns it back, bit for bit. Measured on a CPU (jaxlib 0.7.1): a product
with [K, N] takes 6.6 ms where one with [N, K] takes 10.5 (128 x 768 by 768 x 3072), and a convolution of 512 channels
1 x 1 takes 1.1 ms, and 1.9 with its kernel transposed on the way.
"""

from __future__ import annotations

import onnx_ir as ir

from zoo.converters.graph import CHANNELS_LAST, DOMAIN, is_parameter
from zoo.converters.writers.jax.convolution import last_perm

Perm = tuple[int, ...]
LINEAR = (("Linear", DOMAIN), ("LinearNoBias", DOMAIN))


def kernels(graph: ir.Graph) -> dict[ir.Value, Perm]:
    """The parameters that are held with their axes in another order, and that order."""
    held = {value: _perm(value) for value in graph.initializers.values() if is_parameter(value)}
    return {value: perm for value, perm in held.items() if perm is not None}


def _perm(value: ir.Value) -> Perm | None:
    """The order in which all nodes that read a parameter multiply by it; None where there is none."""
    if value.shape is None or value.is_graph_output():
        return None
    wanted = {_wanted(use.node, use.idx, len(value.shape)) for use in value.uses()}
    return wanted.pop() if len(wanted) == 1 else None


def _wanted(node: ir.Node, at: int, rank: int) -> Perm | None:
    """The order of axes in which a node multiplies by its input `at`, if that is another than the author's."""
    if at != 1:
        return None
    if (node.op_type, node.domain) == ("Conv", CHANNELS_LAST):
        return last_perm(rank)
    is_linear = (node.op_type, node.domain) in LINEAR
    is_gemm = (node.op_type, node.domain) == ("Gemm", "") and node.attributes.get_int("transB", 0) == 1
    return (1, 0) if (is_linear or is_gemm) and rank == 2 else None
