"""Functions that stand among a model's layers: keras.ops of Keras 3, and tf.keras' TFOpLambda, by their names.

They take numbers as well as tensors, in order and by name; what isn't in the table is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.keras_config import Fault, Layer
from zoo.converters.readers.keras_graph import Builder, Laid, Shape
from zoo.converters.readers.keras_layers import ACTIVATIONS, Table, softmax

TABLE = layer = Table()

BINARY = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "true_divide": "Div",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "matmul": "MatMul",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
}
UNARY = {
    "absolute": "Abs",
    "abs": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "exp": "Exp",
    "floor": "Floor",
    "identity": "Identity",
    "log": "Log",
    "logical_not": "Not",
    "negative": "Neg",
    "reciprocal": "Reciprocal",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "stop_gradient": "Identity",
}
REDUCTIONS = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"}
# functions of tf.keras' TFOpLambda -> names of the tables above
LAMBDAS = {
    "math.add": "add",
    "__operators__.add": "add",
    "math.subtract": "subtract",
    "math.multiply": "multiply",
    "math.divide": "divide",
    "math.truediv": "divide",
    "math.pow": "power",
    "math.maximum": "maximum",
    "math.minimum": "minimum",
    "linalg.matmul": "matmul",
    "math.abs": "abs",
    "math.exp": "exp",
    "math.log": "log",
    "math.negative": "negative",
    "math.sqrt": "sqrt",
    "math.square": "square",
    "math.rsqrt": "rsqrt",
    "math.sigmoid": "sigmoid",
    "math.tanh": "tanh",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.softmax": "softmax",
    "nn.gelu": "gelu",
    "nn.silu": "silu",
    "nn.elu": "elu",
    "math.reduce_mean": "mean",
    "math.reduce_sum": "sum",
    "math.reduce_max": "max",
    "math.reduce_min": "min",
    "reshape": "reshape",
    "transpose": "transpose",
    "expand_dims": "expand_dims",
    "squeeze": "squeeze",
    "concat": "concatenate",
    "identity": "identity",
    "stop_gradient": "identity",
}


def _kind(layer: Layer) -> str:
    """Keras 3's class as its function's name: `ops.GreaterEqual` is greater_equal."""
    name = layer.kind.removeprefix("ops.")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _value(b: Builder, value: Any, like: ir.DataType) -> tuple[ir.Value, Shape]:
    """A tensor or a number as a value of the dtype of the tensors beside it."""
    if isinstance(value, Laid):
        return b.author(value), value.shape
    if not isinstance(value, int | float | bool):
        raise Fault(f"a function of {str(value)[:40]!r}", is_refusal=True)
    return b.constant(np.array(value, like.numpy())), ()


def _merged_shape(left: Shape, right: Shape) -> Shape:
    count = max(len(left), len(right))
    rows = [(1,) * (count - len(s)) + tuple(s) for s in (left, right)]
    return tuple(y if x == 1 else x for x, y in zip(*rows, strict=True))


def _axes(value: Any, rank: int) -> list[int] | None:
    if value is None:
        return None
    many = [value] if isinstance(value, int) else list(value)
    if any(type(a) is not int or not -rank <= a < rank for a in many):
        raise Fault(f"axes {str(value)[:40]} of {rank}")
    return [a % rank for a in many]


def _reduced(shape: Shape, axes: Sequence[int] | None, *, keep: bool) -> Shape:
    gone = range(len(shape)) if axes is None else axes
    return tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)


def operate(b: Builder, owner: Layer, name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Laid:
    """A function by its name on tensors and numbers. Raises Fault for one that isn't known."""
    tensors = [a for a in arguments if isinstance(a, Laid)]
    if not tensors:
        raise Fault(f"{owner.name!r} is a function of no tensor", is_refusal=True)
    x = tensors[0]
    if name in BINARY or name == "not_equal":
        (left, left_shape), (right, right_shape) = (_value(b, a, x.dtype) for a in arguments[:2])
        y = b.op(BINARY.get(name, "Equal"), left, right)
        y = b.op("Not", y) if name == "not_equal" else y
        is_bool = name in ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
        shape = (*left_shape[:-1], right_shape[-1]) if name == "matmul" else _merged_shape(left_shape, right_shape)
        return Laid(shape, author=y, dtype=ir.DataType.BOOL if is_bool else x.dtype)
    if name in UNARY:
        return b.same(x, lambda v: b.op(UNARY[name], v))
    if name in ACTIVATIONS:
        return b.same(x, lambda v: ACTIVATIONS[name](b, v))
    if name in ("square", "rsqrt"):
        return b.same(x, lambda v: b.op("Mul", v, v) if name == "square" else b.op("Reciprocal", b.op("Sqrt", v)))
    if name == "softmax":
        return softmax(b, x, options.get("axis", -1))
    if name in REDUCTIONS or name in ("any", "all"):
        return _reduction(b, name, x, options)
    shaped = SHAPES.get(name)
    if shaped is None:
        raise Fault(f"{owner.name!r} is the function {name!r}", is_refusal=True)
    return shaped(b, x, [*arguments[1:]], options, tensors)


def _reduction(b: Builder, name: str, x: Laid, options: Mapping[str, Any]) -> Laid:
    axes = _axes(options.get("axis"), x.rank)
    keep = bool(options.get("keepdims", False))
    value, over = b.author(x), None if axes is None else b.ints(*axes)
    if name in ("any", "all"):
        numbers = b.op("Cast", value, to=ir.DataType.INT32)
        y = b.op("ReduceMax" if name == "any" else "ReduceMin", numbers, over, keepdims=int(keep))
        return Laid(
            _reduced(x.shape, axes, keep=keep), author=b.op("Cast", y, to=ir.DataType.BOOL), dtype=ir.DataType.BOOL
        )
    y = b.op(REDUCTIONS[name], value, over, keepdims=int(keep))
    return Laid(_reduced(x.shape, axes, keep=keep), author=y, dtype=x.dtype)


Shaped = Callable[[Builder, Laid, list[Any], Mapping[str, Any], list[Laid]], Laid]


def _reshape(b: Builder, x: Laid, rest: list[Any], options: Mapping[str, Any], tensors: list[Laid]) -> Laid:
    target = options.get("newshape", options.get("shape", rest[0] if rest else None))
    sizes = [-1 if n is None else n for n in (target or ())]
    if any(type(n) is not int for n in sizes) or sizes.count(-1) > 1:
        raise Fault(f"a reshape to {str(target)[:80]}", is_refusal=True)
    return Laid(
        tuple(None if n < 0 else n for n in sizes), author=b.op("Reshape", b.author(x), b.ints(*sizes)), dtype=x.dtype
    )


def _transpose(b: Builder, x: Laid, rest: list[Any], options: Mapping[str, Any], tensors: list[Laid]) -> Laid:
    perm = options.get("axes", options.get("perm", rest[0] if rest else None))
    order = _axes(perm, x.rank) if perm is not None else list(range(x.rank))[::-1]
    assert order is not None
    y = b.op("Transpose", b.author(x), perm=order)
    return Laid(tuple(x.shape[p] for p in order), author=y, dtype=x.dtype)


def _expand_dims(b: Builder, x: Laid, rest: list[Any], options: Mapping[str, Any], tensors: list[Laid]) -> Laid:
    (axis,) = _axes(options.get("axis", rest[0] if rest else None), x.rank + 1) or (0,)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return Laid(shape, author=b.op("Unsqueeze", b.author(x), b.ints(axis)), dtype=x.dtype)


def _squeeze(b: Builder, x: Laid, rest: list[Any], options: Mapping[str, Any], tensors: list[Laid]) -> Laid:
    axes = _axes(options.get("axis", rest[0] if rest else None), x.rank)
    gone = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else axes
    shape = tuple(n for i, n in enumerate(x.shape) if i not in gone)
    return Laid(shape, author=b.op("Squeeze", b.author(x), b.ints(*gone)), dtype=x.dtype)


def _concatenate(b: Builder, x: Laid, rest: list[Any], options: Mapping[str, Any], tensors: list[Laid]) -> Laid:
    (axis,) = _axes(options.get("axis", -1), x.rank) or (0,)
    sizes = [t.shape[axis] for t in tensors]
    total = None if None in sizes else sum(n or 0 for n in sizes)
    shape = (*x.shape[:axis], total, *x.shape[axis + 1 :])
    return Laid(shape, author=b.op("Concat", *(b.author(t) for t in tensors), axis=axis), dtype=x.dtype)


SHAPES: Mapping[str, Shaped] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "concatenate": _concatenate,
}


def _flat(values: Sequence[Any]) -> list[Any]:
    return [
        part
        for value in values
        for part in (_flat(value) if isinstance(value, tuple) and _has_tensor(value) else [value])
    ]


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Laid) or isinstance(value, tuple) and any(map(_has_tensor, value))


def operation(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """A function of keras.ops, whose options are partly those of the layer."""
    options = {key: value for key, value in layer.config.items() if key not in ("name", "dtype", "trainable")}
    return operate(b, layer, _kind(layer), _flat(b.arguments), {**options, **b.given})


NAMES = [*BINARY, "not_equal", *UNARY, *ACTIVATIONS, "square", "rsqrt", "softmax", *REDUCTIONS, "any", "all", *SHAPES]
TABLE.update({f"ops.{''.join(part.capitalize() for part in name.split('_'))}": operation for name in NAMES})


@layer("TFOpLambda")
def lambda_of_tensorflow(b: Builder, layer: Layer, inputs: Sequence[Laid]) -> Laid:
    """A function of TensorFlow by its public name; its second operand may be a number or a tensor by name."""
    function = str(layer["function"])
    if function not in LAMBDAS:
        raise Fault(f"layer {layer.name!r} is the function {function[:80]!r}", is_refusal=True)
    given = dict(b.given)
    second = [given.pop(key) for key in ("y", "b") if key in given]
    options = {("axis" if key == "dim" else key): value for key, value in given.items()}
    return operate(b, layer, LAMBDAS[function], [*inputs, *second], options)
