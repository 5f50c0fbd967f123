"""The author's tensors as variables, and which stand in TensorFlow's layout, so that no step transposes them.

A kernel that only convolutions read is kept as they want it ([H, W, C, M] in place of [M, C, H, W]); a parameter that
is only read through a Transpose or Reshape is kept so. `tensors` of the writer turns them back, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from zoo.converters.graph import CHANNELS_LAST, PARAMETER, parameters, tied_names
from zoo.converters.writers.keras.dtypes import FLOATS, held
from zoo.converters.writers.keras.parameters import View, author_shape, shapes
from zoo.converters.writers.tensorflow import KERNELS

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class Held:
    """A variable: whose tensor it is (name, dtype, shape, tied names), how it is seen, and whether it is trained."""

    name: str
    dtype: ir.DataType
    shape: tuple[int, ...]
    views: tuple[View, ...]
    tied: tuple[str, ...]
    is_trained: bool

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """The variable's own shape."""
        return shapes(self.shape, self.views)[-1]


def hold(graph: ir.Graph) -> tuple[dict[ir.Value, Held], set[ir.Node]]:
    """The variables of a graph, by the value that each is, and the views that they stand for.

    The graph is changed where kernels are read in TensorFlow's layout: those nodes are of the domain KERNELS then.
    """
    found, absorbed = {}, set[ir.Node]()
    for value in parameters(graph).values():
        seen, one = _hold(value, graph, absorbed)
        found[seen] = one
    return found, absorbed


def _hold(value: ir.Value, graph: ir.Graph, absorbed: set[ir.Node]) -> tuple[ir.Value, Held]:
    tensor = value.const_value
    if tensor is None:
        raise ValueError(f"initializer {value.name!r} has no data")
    shape, seen = author_shape(value), value
    views: list[View] = []
    while (found := _only_view(seen, graph)) is not None:
        node, view = found
        views.append(view)
        absorbed.add(node)
        seen = node.outputs[0]
    kernels = {_kernel_views(use.node, use.idx, shapes(shape, views)[-1]) for use in seen.uses()}
    if len(kernels) == 1 and not seen.is_graph_output() and (kernel := kernels.pop()):
        views += kernel
        for use in list(seen.uses()):
            use.node.domain = KERNELS
    is_float = tensor.dtype.is_floating_point() and held(tensor.dtype) in FLOATS
    is_trained = is_float and value.metadata_props[PARAMETER] == "parameter"
    return seen, Held(value.name or "", tensor.dtype, shape, tuple(views), tuple(tied_names(value)), is_trained)


def _only_view(value: ir.Value, graph: ir.Graph) -> tuple[ir.Node, View] | None:
    """The Transpose or Reshape through which alone a value of the outermost graph is read, if it is."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].idx != 0:
        return None
    node = uses[0].node
    shape = node.outputs[0].shape
    if node.domain or node.graph is not graph or shape is None or not shape.is_static():
        return None
    if node.op_type == "Transpose":
        perm = node.attributes.get_ints("perm", list(reversed(range(len(shape)))))
        return node, ("transpose", tuple(perm))
    return (node, ("reshape", tuple(shape.numpy()))) if node.op_type in RESHAPES else None


def _kernel_views(node: ir.Node, at: int, shape: Sequence[int]) -> tuple[View, ...]:
    """How TensorFlow wants the kernel that a node reads as its input `at`; nothing where that is no kernel."""
    if node.domain != CHANNELS_LAST or at != 1 or node.op_type not in ("Conv", "ConvTranspose"):
        return ()
    return kernel_views(shape, node.attributes.get_int("group", 1), transposed=node.op_type == "ConvTranspose")


def kernel_views(shape: Sequence[int], group: int, *, transposed: bool = False) -> tuple[View, ...]:
    """From ONNX's kernel [M, C / group, spatial...] to TensorFlow's [spatial..., C / group, M].

    Depthwise ones of two axes are [H, W, C, M / C], those of a transposed convolution [spatial..., M / group, C].
    """
    spatial = tuple(range(2, len(shape)))
    if not is_depthwise(shape, group, transposed=transposed):
        return (("transpose", (*spatial, 1, 0)),)
    sizes = tuple(shape[i] for i in spatial)
    return ("transpose", (*spatial, 1, 0)), ("reshape", (*sizes, group, shape[0] // group))


def is_depthwise(shape: Sequence[int], group: int, *, transposed: bool = False) -> bool:
    """Whether a kernel [M, C / group, H, W] reads one channel for each of its results."""
    return not transposed and len(shape) == 4 and group > 1 and shape[1] == 1
