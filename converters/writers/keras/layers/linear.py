"""Products with the author's matrices, and tables that are looked up."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import keras
import onnx_ir as ir

from zoo.converters.graph import DOMAIN, is_parameter
from zoo.converters.writers.keras import lowers
from zoo.converters.writers.keras.layers import values
from zoo.converters.writers.keras.layers.values import is_float, is_tensor
from zoo.converters.writers.keras.parameters import Parameter
from zoo.converters.writers.keras.sharing import is_reversible

Value = Any


@lowers("Linear", DOMAIN)
@lowers("LinearNoBias", DOMAIN)
def linear(w: Any, X: Value, W: Value, B: Value = None) -> Value:
    """Y [..., N] = X [..., K] @ W.T + B, W [N, K], B [N]."""
    return dense(w, X, W.transposed(1, 0), B) if values.is_parameter(W, 2) else None


@lowers("Gemm")
def gemm(
    w: Any,
    A: Value,
    B: Value,
    C: Value = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    """Y [M, N] = A @ B + C, B a parameter [K, N] after its transpose, and C one [N]."""
    if transA or alpha != 1.0 or (C is not None and beta != 1.0) or not values.is_parameter(B, 2):
        return None
    return dense(w, A, B.transposed(1, 0) if transB else B, C)


@lowers("MatMul")
def matmul(w: Any, A: Value, B: Value) -> Value:
    """Y [..., N] = A [..., K] @ B, a parameter [K, N]; with the bias that is all that reads it."""
    if not values.is_parameter(B, 2):
        return None
    add, bias = _bias_behind(w, B.shape[1])
    made = dense(w, A, B, bias)
    if made is not None and add is not None:
        w.absorbed.add(add)
    return made


def _bias_behind(w: Any, columns: int) -> tuple[ir.Node | None, Value]:
    """The addition of a parameter [N] that is all that becomes of a product; the parameter."""
    out = w.node.outputs[0]
    uses = list(out.uses())
    if len(uses) != 1 or out.is_graph_output() or uses[0].node.op_type != "Add" or uses[0].node.domain:
        return None, None
    add = uses[0].node
    other = add.inputs[1 - uses[0].idx]
    if other is None or not is_parameter(other) or other.name in w.held_apart or list(other.shape or ()) != [columns]:
        return None, None
    return add, Parameter(other.name or "", other)


def dense(w: Any, x: Value, kernel: Parameter, bias: Value) -> Value:
    """Dense, with a kernel [K, N] and a bias [N]; or an embedding that is read backwards."""
    if not is_float(x) or len(x.shape) < 2 or not isinstance(x.shape[-1], int):
        return None
    if bias is not None and not (values.is_parameter(bias, 1) and bias.shape[0] == kernel.shape[1]):
        return None
    if is_reversible(kernel.value):
        table = _table(kernel)
        return None if bias is not None or table is None else _embedding(w, x, table, reverse=True)
    config = {"units": kernel.shape[1], "use_bias": bias is not None}
    return w.layer(keras.layers.Dense, x, config, kernel_initializer=kernel, bias_initializer=bias)


def _table(kernel: Parameter) -> Parameter | None:
    """The table [V, D] that a kernel [D, V] is the transpose of, and nothing else."""
    return Parameter(kernel.name, kernel.value) if kernel.views == (("transpose", (1, 0)),) else None


@lowers("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """Rows of a parameter [V, D]; a negative index counts from the end in keras.ops.take as well."""
    is_table = values.is_parameter(data, 2) and not data.views
    if axis != 0 or not is_table or not is_tensor(indices) or len(indices.shape) < 1:
        return None
    return _embedding(w, indices, data)


def _embedding(w: Any, x: Value, table: Parameter, **how: bool) -> Value:
    cls = keras.layers.ReversibleEmbedding if is_reversible(table.value) else keras.layers.Embedding
    config = {"input_dim": table.shape[0], "output_dim": table.shape[1]}
    return w.layer(cls, x, config, how, embeddings_initializer=table)
