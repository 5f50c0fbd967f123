"""MXNet's arithmetic: element by element, with scalars, reductions, comparisons, products of matrices.

A comparison's result has the dtype of what is compared, and a scalar is of the tensor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.mxnet_graph import TABLE, Emit, lowers
from zoo.converters.readers.mxnet_symbol import Params
from zoo.converters.readers.scribe import Fault, Scribe

# MXNet's names of functions of one tensor: ONNX's
UNARY = {
    "abs": "Abs", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin", "arcsinh": "Asinh", "arctan": "Atan",
    "arctanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor",
    "log": "Log", "negative": "Neg", "reciprocal": "Reciprocal", "relu": "Relu", "rint": "Round",
    "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "softsign": "Softsign", "sqrt": "Sqrt",
    "tan": "Tan", "tanh": "Tanh", "_copy": "Identity", "identity": "Identity", "BlockGrad": "Identity",
    "stop_gradient": "Identity", "MakeLoss": "Identity", "make_loss": "Identity", "IdentityAttachKLSparseReg":
    "Identity", "_identity_with_attr_like_rhs": "Identity", "_CrossDeviceCopy": "Identity",
}  # fmt: skip
# of two tensors, without and with broadcasting; the scalar's form where it is named alike
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "power": "Pow", "maximum": "Max", "minimum": "Min"}
COMPARES = {"equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "lesser": "Less"}
COMPARES |= {"lesser_equal": "LessOrEqual"}
LOGICAL = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
REDUCES = {"sum": "ReduceSum", "mean": "ReduceMean", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}
OLD_BINARY = {"_Plus": "Add", "_plus": "Add", "_add": "Add", "_Minus": "Sub", "_minus": "Sub", "_sub": "Sub"}
OLD_BINARY |= {"_Mul": "Mul", "_mul": "Mul", "_Div": "Div", "_div": "Div", "_Power": "Pow", "_power": "Pow"}
OLD_BINARY |= {"_Maximum": "Max", "_maximum": "Max", "_Minimum": "Min", "_minimum": "Min", "_grad_add": "Add"}
OLD_BINARY |= {"broadcast_plus": "Add", "broadcast_minus": "Sub"}


def _unary(kind: str) -> Emit:
    def emit(op: Scribe, p: Params, x: ir.Value, *_: ir.Value) -> Any:
        return getattr(op, kind)(x)

    return emit


def _binary(kind: str) -> Emit:
    def emit(op: Scribe, p: Params, a: ir.Value, b: ir.Value) -> Any:
        return getattr(op, kind)(a, b)

    return emit


def _like(op: Scribe, truth: ir.Value, x: ir.Value) -> ir.Value:
    """A truth as 0 or 1 in the dtype of a tensor."""
    return op.cast(truth, x.dtype or ir.DataType.FLOAT)


def _compare(kind: str, *, negated: bool = False) -> Emit:
    def emit(op: Scribe, p: Params, a: ir.Value, b: ir.Value | None = None) -> Any:
        truth = getattr(op, kind)(a, op.scalar(p.number("scalar"), a) if b is None else b)
        return _like(op, op.Not(truth) if negated else truth, a)

    return emit


def _logical(kind: str) -> Emit:
    def emit(op: Scribe, p: Params, a: ir.Value, b: ir.Value | None = None) -> Any:
        other = op.const(p.number("scalar") != 0, np.bool_) if b is None else op.cast(b, ir.DataType.BOOL)
        return _like(op, getattr(op, kind)(op.cast(a, ir.DataType.BOOL), other), a)

    return emit


def _scalar(kind: str, *, reverse: bool = False) -> Emit:
    def emit(op: Scribe, p: Params, x: ir.Value) -> Any:
        number = op.scalar(p.number("scalar"), x)
        return getattr(op, kind)(number, x) if reverse else getattr(op, kind)(x, number)

    return emit


def axes_of(op: Scribe, p: Params, x: ir.Value, name: str = "axis") -> tuple[int, ...]:
    """The axes that a reduction goes over; with `exclude` all others. Empty for all."""
    axes = p.ints(name)
    if p.flag("exclude"):
        rank = op.rank(x)
        excluded = {axis % rank for axis in axes}
        return tuple(axis for axis in range(rank) if axis not in excluded)
    return axes


def reduced(op: Scribe, kind: str, x: ir.Value, axes: Sequence[int], keepdims: bool) -> ir.Value:
    """A reduction over some axes, or all; a scalar is [1] in MXNet."""
    if not axes and not keepdims:
        return op.Reshape(getattr(op, kind)(x, None, keepdims=0), op.const([1]))  # type: ignore[no-any-return]
    made: ir.Value = getattr(op, kind)(x, op.const(list(axes)) if axes else None, keepdims=int(keepdims))
    if not keepdims and x.shape is not None and len(set(axes)) == len(x.shape):
        return op.Reshape(made, op.const([1]))  # type: ignore[no-any-return]
    return made


def _reduce(kind: str, *, without_nan: float | None = None) -> Emit:
    def emit(op: Scribe, p: Params, x: ir.Value) -> Any:
        if without_nan is not None:
            x = op.Where(op.IsNaN(x), op.scalar(without_nan, x), x)
        return reduced(op, kind, x, axes_of(op, p, x), p.flag("keepdims"))

    return emit


TABLE.update({name: _unary(kind) for name, kind in UNARY.items()})
TABLE.update({name: _binary(kind) for name, kind in OLD_BINARY.items()})
for _name, _kind in BINARY.items():
    TABLE[f"broadcast_{_name}"] = TABLE[f"elemwise_{_name}"] = _binary(_kind)
    for _old in (f"_{_name}_scalar", f"_{_name.capitalize()}Scalar"):
        TABLE[_old] = _scalar(_kind)
for _name, _kind in {"plus": "Add", "minus": "Sub"}.items():
    TABLE[f"_{_name}_scalar"] = TABLE[f"_{_name.capitalize()}Scalar"] = _scalar(_kind)
for _name, _kind in {"minus": "Sub", "div": "Div", "power": "Pow"}.items():
    TABLE[f"_r{_name}_scalar"] = TABLE[f"_R{_name.capitalize()}Scalar"] = _scalar(_kind, reverse=True)
for _name, _kind in COMPARES.items():
    for _form in (f"_{_name}", f"broadcast_{_name}", f"_{_name}_scalar"):
        TABLE[_form] = _compare(_kind)
for _form in ("_not_equal", "broadcast_not_equal", "_not_equal_scalar"):
    TABLE[_form] = _compare("Equal", negated=True)
for _name, _kind in LOGICAL.items():
    for _form in (f"_{_name}", f"broadcast_{_name}", f"_{_name}_scalar"):
        TABLE[_form] = _logical(_kind)
TABLE.update({name: _reduce(kind) for name, kind in REDUCES.items()})
TABLE.update({f"{name}_axis": _reduce(REDUCES[name]) for name in ("sum", "max", "min")})
TABLE |= {"nansum": _reduce("ReduceSum", without_nan=0.0), "nanprod": _reduce("ReduceProd", without_nan=1.0)}


@lowers("add_n", "ElementWiseSum", "_sum", "element_wise_sum")
def add_n(op: Scribe, p: Params, *xs: ir.Value) -> Any:
    """The sum of all inputs."""
    return op.Sum(*xs)


@lowers("square")
def square(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The square."""
    return op.Mul(x, x)


@lowers("rsqrt")
def rsqrt(op: Scribe, p: Params, x: ir.Value) -> Any:
    """1 / sqrt(x)."""
    return op.Reciprocal(op.Sqrt(x))


@lowers("cbrt", "rcbrt")
def cbrt(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The cubic root, which keeps the sign; and one over it."""
    root = op.Mul(op.Sign(x), op.Pow(op.Abs(x), op.scalar(1 / 3, x)))
    return root if p.node.op == "cbrt" else op.Reciprocal(root)


BASES = {"log2": np.log(2), "log10": np.log(10)}


@lowers("log2", "log10")
def log_of_base(op: Scribe, p: Params, x: ir.Value) -> Any:
    """ln(x) / ln(base)."""
    return op.Div(op.Log(x), op.scalar(BASES[p.node.op], x))


@lowers("log1p")
def log1p(op: Scribe, p: Params, x: ir.Value) -> Any:
    """ln(1 + x)."""
    return op.Log(op.Add(x, op.scalar(1, x)))


@lowers("expm1")
def expm1(op: Scribe, p: Params, x: ir.Value) -> Any:
    """exp(x) - 1."""
    return op.Sub(op.Exp(x), op.scalar(1, x))


@lowers("degrees", "radians")
def degrees(op: Scribe, p: Params, x: ir.Value) -> Any:
    """From radians to degrees, or back."""
    return op.Mul(x, op.scalar(180 / np.pi if p.node.op == "degrees" else np.pi / 180, x))


@lowers("fix", "trunc")
def fix(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Rounds to zero."""
    return op.Mul(op.Sign(x), op.Floor(op.Abs(x)))


@lowers("round")
def round_away(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Rounds to the nearest, halves away from zero."""
    return op.Mul(op.Sign(x), op.Floor(op.Add(op.Abs(x), op.scalar(0.5, x))))


@lowers("logical_not")
def logical_not(op: Scribe, p: Params, x: ir.Value) -> Any:
    """1 where x is 0."""
    return _like(op, op.Not(op.cast(x, ir.DataType.BOOL)), x)


@lowers("hard_sigmoid")
def hard_sigmoid(op: Scribe, p: Params, x: ir.Value) -> Any:
    """max(0, min(1, alpha * x + beta))."""
    return op.HardSigmoid(x, alpha=p.number("alpha", 0.2), beta=p.number("beta", 0.5))


@lowers("log_sigmoid")
def log_sigmoid(op: Scribe, p: Params, x: ir.Value) -> Any:
    """-softplus(-x)."""
    return op.Neg(op.Softplus(op.Neg(x)))


@lowers("mish")
def mish(op: Scribe, p: Params, x: ir.Value) -> Any:
    """`x * tanh(softplus(x))`."""
    return op.Mish(x)


@lowers("smooth_l1")
def smooth_l1(op: Scribe, p: Params, x: ir.Value) -> Any:
    """0.5 (s x)^2 where |x| < 1 / s^2, else |x| - 0.5 / s^2."""
    s2 = p.number("scalar", 1.0) ** 2
    size = op.Abs(x)
    inner = op.Mul(op.Mul(x, x), op.scalar(0.5 * s2, x))
    return op.Where(op.Less(size, op.scalar(1 / s2, x)), inner, op.Sub(size, op.scalar(0.5 / s2, x)))


@lowers("clip")
def clip(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Between a_min and a_max."""
    return op.Clip(x, op.scalar(p.number("a_min"), x), op.scalar(p.number("a_max"), x))


@lowers("_mod", "broadcast_mod", "_Mod", "_mod_scalar", "_rmod_scalar")
def mod(op: Scribe, p: Params, a: ir.Value, b: ir.Value | None = None) -> Any:
    """Python's remainder, which has the divisor's sign."""
    number = op.scalar(p.number("scalar"), a) if b is None else b
    x, y = (number, a) if p.node.op.startswith("_r") else (a, number)
    return op.Sub(x, op.Mul(op.Floor(op.Div(x, y)), y))


@lowers("_hypot", "broadcast_hypot", "_hypot_scalar")
def hypot(op: Scribe, p: Params, a: ir.Value, b: ir.Value | None = None) -> Any:
    """sqrt(a^2 + b^2)."""
    other = op.scalar(p.number("scalar"), a) if b is None else b
    return op.Sqrt(op.Add(op.Mul(a, a), op.Mul(other, other)))


@lowers("_scatter_elemwise_div")
def scatter_div(op: Scribe, p: Params, a: ir.Value, b: ir.Value) -> Any:
    """Of dense tensors a / b."""
    return op.Div(a, b)


@lowers("_contrib_div_sqrt_dim")
def div_sqrt_dim(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Over the root of its last size."""
    size = op.Cast(op.Shape(x, start=-1), to=int(x.dtype or ir.DataType.FLOAT))
    return op.Div(x, op.Sqrt(size))


@lowers("_contrib_quadratic")
def quadratic(op: Scribe, p: Params, x: ir.Value) -> Any:
    """A polynomial: a x^2 + b x + c."""
    a, b, c = (op.scalar(p.number(name, 0.0), x) for name in "abc")
    return op.Add(op.Mul(op.Add(op.Mul(a, x), b), x), c)


@lowers("norm")
def norm(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The norm of order 1 or 2."""
    kind = {1: "ReduceL1", 2: "ReduceL2"}.get(p.integer("ord", 2))
    if kind is None:
        raise Fault(f"a norm of order {p.integer('ord')}", is_refusal=True)
    return reduced(op, kind, x, p.ints("axis"), p.flag("keepdims"))


@lowers("moments")
def moments(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Mean and variance."""
    axes, keep = p.ints("axes"), p.flag("keepdims")
    away = op.Sub(x, op.ReduceMean(x, op.const(list(axes)) if axes else None, keepdims=1))
    return reduced(op, "ReduceMean", x, axes, keep), reduced(op, "ReduceMean", op.Mul(away, away), axes, keep)


@lowers("dot")
def dot(op: Scribe, p: Params, a: ir.Value, b: ir.Value) -> Any:
    """The last axis of a with the first of b; transpose_a and transpose_b turn all axes round their halves."""
    m, n = op.rank(a, 2), op.rank(b, 2)
    if p.flag("transpose_a"):
        a = op.Transpose(a, perm=[*range(1, m), 0])
    if p.flag("transpose_b"):
        b = op.Transpose(b, perm=[n - 1, *range(n - 1)])
    if m <= 2 and n <= 2:
        made = op.MatMul(a, b)
        return op.Reshape(made, op.const([1])) if m == n == 1 else made
    rows = op.reshape(a, [-1, op.size(a, -1)])
    columns = op.reshape(b, [op.size(b, 0), -1])
    sizes = [*(op.size(a, i) for i in range(m - 1)), *(op.size(b, i) for i in range(1, n))]
    return op.reshape(op.MatMul(rows, columns), sizes)


@lowers("batch_dot")
def batch_dot(op: Scribe, p: Params, a: ir.Value, b: ir.Value) -> Any:
    """The product of [..., M, K] and [..., K, N], each after its transpose."""
    return op.MatMul(_turned(op, p, "a", a), _turned(op, p, "b", b))


def _turned(op: Scribe, p: Params, which: str, x: ir.Value) -> ir.Value:
    if not p.flag(f"transpose_{which}"):
        return x
    n = op.rank(x, 3)
    return op.Transpose(x, perm=[*range(n - 2), n - 1, n - 2])  # type: ignore[no-any-return]


@lowers("_linalg_gemm2", "linalg_gemm2")
def gemm2(op: Scribe, p: Params, a: ir.Value, b: ir.Value) -> Any:
    """The product over the last two axes, times alpha."""
    made = op.MatMul(_turned(op, p, "a", a), _turned(op, p, "b", b))
    alpha = p.number("alpha", 1.0)
    return made if alpha == 1 else op.Mul(made, op.scalar(alpha, made))


@lowers("_linalg_gemm", "linalg_gemm")
def gemm(op: Scribe, p: Params, a: ir.Value, b: ir.Value, c: ir.Value) -> Any:
    """The product times alpha, plus beta * c."""
    return op.Add(gemm2(op, p, a, b), op.Mul(c, op.scalar(p.number("beta", 1.0), c)))


@lowers("_linalg_syrk", "linalg_syrk")
def syrk(op: Scribe, p: Params, a: ir.Value) -> Any:
    """A matrix times its transpose, or the other way round, times alpha."""
    n = op.rank(a, 2)
    turned = op.Transpose(a, perm=[*range(n - 2), n - 1, n - 2])
    made = op.MatMul(turned, a) if p.flag("transpose") else op.MatMul(a, turned)
    return op.Mul(made, op.scalar(p.number("alpha", 1.0), made))


@lowers("cumsum", "_np_cumsum")
def cumsum(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The running sum along an axis; of the flattened tensor where none is given."""
    axis = p.maybe_int("axis")
    x = op.reshape(x, [-1]) if axis is None else x
    return op.CumSum(x, op.const(axis or 0))


@lowers("argmax", "argmin", "argmax_channel")
def argmax(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Where the largest is, as a number of the tensor's dtype."""
    is_channel = p.node.op == "argmax_channel"
    axis, keep = (1, False) if is_channel else (p.maybe_int("axis"), p.flag("keepdims"))
    kind = "ArgMin" if p.node.op == "argmin" else "ArgMax"
    if axis is None:
        found = getattr(op, kind)(op.reshape(x, [-1]), axis=0, keepdims=1)
        found = op.reshape(found, [1] * op.rank(x)) if keep else found
    else:
        found = getattr(op, kind)(x, axis=axis, keepdims=int(keep))
    return op.cast(found, x.dtype or ir.DataType.FLOAT)
