"""aten's arithmetic: element by element, comparisons, reductions, products of matrices."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import (
    FLOATS,
    TABLE,
    Emit,
    Sym,
    axes_of,
    axis_of,
    floating,
    in_dtype,
    lowers,
    own,
    promoted,
    scalar,
)

# Functions of floats: integers come in as float32.
FLOAT_UNARY = {
    "acos": "Acos", "acosh": "Acosh", "arccos": "Acos", "arcsin": "Asin", "arctan": "Atan", "asin": "Asin",
    "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp",
    "log": "Log", "reciprocal": "Reciprocal", "sigmoid": "Sigmoid", "sin": "Sin", "sinh": "Sinh", "special_erf": "Erf",
    "special_expit": "Sigmoid", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip
UNARY = {
    "abs": "Abs",
    "absolute": "Abs",
    "neg": "Neg",
    "negative": "Neg",
    "relu": "Relu",
    "sign": "Sign",
    "sgn": "Sign",
}
ROUNDS = {"ceil": "Ceil", "floor": "Floor"}
IDENTITIES: tuple[str, ...] = (
    "clone",
    "contiguous",
    "alias_copy",
    "lift_fresh_copy",
    "lift_fresh",
    "detach_copy",
    "positive",
    "cpu",
)
IDENTITIES += ("_unsafe_masked", "resolve_conj", "resolve_neg", "lift", "to_dense", "data")
COMPARES: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "eq": ("Equal", operator.eq), "gt": ("Greater", operator.gt), "lt": ("Less", operator.lt),
    "ge": ("GreaterOrEqual", operator.ge), "le": ("LessOrEqual", operator.le), "ne": ("Equal", operator.ne),
}  # fmt: skip
ALIASES = {"greater": "gt", "less": "lt", "greater_equal": "ge", "less_equal": "le", "not_equal": "ne"}
KNOWN: dict[str, Callable[..., Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Max": max, "Min": min,
}  # fmt: skip


def is_number(*values: Any) -> bool:
    """Whether all are Python's numbers, known or not."""
    return all(isinstance(value, bool | int | float | Sym) for value in values)


def is_known(*values: Any) -> bool:
    """Whether all are Python's numbers, and known."""
    return all(isinstance(value, bool | int | float) for value in values)


def of_numbers(op: Scribe, kind: str, *values: Any) -> Sym:
    """A number that is computed when the model runs."""
    is_float = any(v.kind == "float" if isinstance(v, Sym) else isinstance(v, float) for v in values)
    dtype = ir.DataType.DOUBLE if is_float else ir.DataType.INT64
    return Sym(getattr(op, kind)(*(scalar(op, v, dtype) for v in values)), "float" if is_float else "int")


def _float_unary(kind: str) -> Emit:
    def emit(op: Scribe, self: Any) -> Any:
        if is_number(self):
            return Sym(getattr(op, kind)(scalar(op, self, ir.DataType.DOUBLE)), "float")
        return getattr(op, kind)(floating(op, self))

    return emit


def _unary(kind: str) -> Emit:
    def emit(op: Scribe, self: Any) -> Any:
        if is_number(self):
            if is_known(self) and kind in ("Neg", "Abs"):
                return -self if kind == "Neg" else abs(self)
            return of_numbers(op, kind, self)
        return getattr(op, kind)(self)

    return emit


def _round(kind: str) -> Emit:
    def emit(op: Scribe, self: Any) -> Any:
        if is_known(self):
            return math.ceil(self) if kind == "Ceil" else math.floor(self)
        if is_number(self):
            return Sym(op.cast(getattr(op, kind)(scalar(op, self, ir.DataType.DOUBLE)), ir.DataType.INT64), "int")
        return getattr(op, kind)(self) if own(self) in FLOATS else op.Identity(self)

    return emit


def _identity(op: Scribe, self: Any, *_: Any, **__: Any) -> Any:
    return op.Identity(self) if isinstance(self, ir.Value) else self


TABLE.update({name: _float_unary(kind) for name, kind in FLOAT_UNARY.items()})
TABLE.update({name: _unary(kind) for name, kind in UNARY.items()})
TABLE.update({name: _round(kind) for name, kind in ROUNDS.items()})
TABLE.update(dict.fromkeys(IDENTITIES, _identity))


def _scaled(op: Scribe, other: Any, alpha: Any) -> Any:
    if is_known(alpha) and alpha == 1:
        return other
    if is_known(other, alpha):
        return other * alpha
    a, b = promoted(op, other, alpha) if isinstance(other, ir.Value) else (other, alpha)
    return of_numbers(op, "Mul", a, b) if is_number(a, b) else op.Mul(a, b)


def arithmetic(op: Scribe, kind: str, a: Any, b: Any) -> Any:
    """An operator of two tensors or numbers, in the dtype that torch computes in."""
    if is_known(a, b):
        return KNOWN[kind](a, b)
    if is_number(a, b):
        return of_numbers(op, kind, a, b)
    x, y = promoted(op, a, b)
    if x.dtype == ir.DataType.BOOL:
        named = {"Add": "Or", "Max": "Or", "Mul": "And", "Min": "And"}.get(kind)
        if named is None:
            raise Fault(f"{kind} of truths", is_refusal=True)
        kind = named
    return getattr(op, kind)(x, y)


@lowers("add", "__add__", "__iadd__", "_add")
def add(op: Scribe, self: Any, other: Any, alpha: Any = 1) -> Any:
    """Self + alpha * other; of lists and text, one behind the other."""
    if isinstance(self, list | str) and isinstance(other, list | str):
        return operator.add(self, other)
    return arithmetic(op, "Add", self, _scaled(op, other, alpha))


@lowers("sub", "subtract")
def sub(op: Scribe, self: Any, other: Any, alpha: Any = 1) -> Any:
    """Self - alpha * other."""
    return arithmetic(op, "Sub", self, _scaled(op, other, alpha))


@lowers("rsub")
def rsub(op: Scribe, self: Any, other: Any, alpha: Any = 1) -> Any:
    """Other - alpha * self."""
    return arithmetic(op, "Sub", other, _scaled(op, self, alpha))


@lowers("mul", "multiply")
def mul(op: Scribe, self: Any, other: Any) -> Any:
    """Self * other."""
    if isinstance(self, list) and isinstance(other, int):
        return self * min(other, 1 << 16)
    return arithmetic(op, "Mul", self, other)


@lowers("div", "divide", "true_divide", "truediv")
def div(op: Scribe, self: Any, other: Any, rounding_mode: str | None = None) -> Any:
    """Self / other, a float; or rounded down or to zero."""
    if rounding_mode == "floor":
        return floor_divide(op, self, other)
    if is_known(self, other) and other != 0 and rounding_mode is None:
        return self / other
    if is_number(self, other):
        made = op.Div(scalar(op, self, ir.DataType.DOUBLE), scalar(op, other, ir.DataType.DOUBLE))
        return Sym(made, "float")
    if rounding_mode is None:
        a, b = promoted(op, self, other, to_float=True)
        return op.Div(a, b)
    a, b = promoted(op, self, other)
    quotient = op.Div(a, b)
    return quotient if a.dtype not in FLOATS else op.Mul(op.Sign(quotient), op.Floor(op.Abs(quotient)))


@lowers("floor_divide", "floordiv", "__floordiv__")
def floor_divide(op: Scribe, self: Any, other: Any) -> Any:
    """The quotient rounded down."""
    if is_known(self, other) and other != 0:
        return self // other
    if is_number(self, other):
        return Sym(_floored(op, *(scalar(op, v, ir.DataType.INT64) for v in (self, other))), "int")
    return _floored(op, *promoted(op, self, other))


def _floored(op: Scribe, a: ir.Value, b: ir.Value) -> ir.Value:
    """ONNX's division of integers rounds to zero: what differs in sign and doesn't divide is one less."""
    if a.dtype in FLOATS:
        return op.Floor(op.Div(a, b))  # type: ignore[no-any-return]
    return op.Div(op.Sub(a, op.Mod(a, b)), b)  # type: ignore[no-any-return]


@lowers("remainder", "__mod__", "mod")
def remainder(op: Scribe, self: Any, other: Any) -> Any:
    """Python's remainder, which has the divisor's sign."""
    if is_known(self, other) and other != 0:
        return self % other
    if is_number(self, other):
        return Sym(op.Mod(*(scalar(op, v, ir.DataType.INT64) for v in (self, other))), "int")
    a, b = promoted(op, self, other)
    return op.Mod(a, b) if a.dtype not in FLOATS else op.Sub(a, op.Mul(op.Floor(op.Div(a, b)), b))


@lowers("fmod")
def fmod(op: Scribe, self: Any, other: Any) -> Any:
    """C's remainder, which has the dividend's sign."""
    a, b = promoted(op, self, other)
    return op.Mod(a, b, fmod=1)


@lowers("pow", "float_power")
def power(op: Scribe, self: Any, exponent: Any) -> Any:
    """Self ** exponent."""
    if is_known(self, exponent) and abs(exponent) < 64:
        return self**exponent
    if is_number(self, exponent):
        return Sym(op.Pow(*(scalar(op, v, ir.DataType.DOUBLE) for v in (self, exponent))), "float")
    a, b = promoted(op, self, exponent)
    return op.Pow(a, b)


@lowers("square")
def square(op: Scribe, self: ir.Value) -> Any:
    """The square."""
    return op.Mul(self, self)


@lowers("rsqrt")
def rsqrt(op: Scribe, self: ir.Value) -> Any:
    """One over the root."""
    return op.Reciprocal(op.Sqrt(floating(op, self)))


BASES = {"log2": math.log(2), "log10": math.log(10)}


def _log(base: float) -> Emit:
    def emit(op: Scribe, self: ir.Value) -> Any:
        logarithm = op.Log(floating(op, self))
        return op.Div(logarithm, op.scalar(base, logarithm))

    return emit


TABLE.update({name: _log(base) for name, base in BASES.items()})


@lowers("log1p", "special_log1p")
def log1p(op: Scribe, self: ir.Value) -> Any:
    """ln(1 + x)."""
    x = floating(op, self)
    return op.Log(op.Add(x, op.scalar(1, x)))


@lowers("expm1", "special_expm1")
def expm1(op: Scribe, self: ir.Value) -> Any:
    """exp(x) - 1."""
    x = op.Exp(floating(op, self))
    return op.Sub(x, op.scalar(1, x))


@lowers("exp2", "special_exp2")
def exp2(op: Scribe, self: ir.Value) -> Any:
    """2 ** x."""
    x = floating(op, self)
    return op.Pow(op.scalar(2, x), x)


@lowers("erfc", "special_erfc")
def erfc(op: Scribe, self: ir.Value) -> Any:
    """1 - erf(x)."""
    x = op.Erf(floating(op, self))
    return op.Sub(op.scalar(1, x), x)


@lowers("logit", "special_logit")
def logit(op: Scribe, self: ir.Value, eps: Any = None) -> Any:
    """ln(x / (1 - x)), with x kept eps away from 0 and 1."""
    x = self if eps is None else op.Clip(self, op.scalar(eps, self), op.scalar(1 - eps, self))
    return op.Log(op.Div(x, op.Sub(op.scalar(1, x), x)))


@lowers("atan2", "arctan2")
def atan2(op: Scribe, self: ir.Value, other: ir.Value) -> Any:
    """The angle of (other, self)."""
    y, x = promoted(op, self, other, to_float=True)
    zero, pi = op.scalar(0, x), op.scalar(math.pi, x)
    base = op.Atan(op.Div(y, x))
    turned = op.Where(op.Less(y, zero), op.Sub(base, pi), op.Add(base, pi))
    made = op.Where(op.Less(x, zero), turned, base)
    return op.Where(op.And(op.Equal(x, zero), op.Equal(y, zero)), zero, made)


@lowers("round")
def round_(op: Scribe, self: Any, decimals: int = 0) -> Any:
    """To the nearest, halves to even."""
    if is_known(self):
        return round(self)
    x = self if not decimals else op.Mul(self, op.scalar(10.0**decimals, self))
    made = op.Round(x)
    return made if not decimals else op.Div(made, op.scalar(10.0**decimals, made))


@lowers("trunc", "fix")
def trunc(op: Scribe, self: ir.Value) -> Any:
    """To zero."""
    return op.Mul(op.Sign(self), op.Floor(op.Abs(self)))


@lowers("frac")
def frac(op: Scribe, self: ir.Value) -> Any:
    """What is behind the point."""
    return op.Sub(self, trunc(op, self))


@lowers("clamp", "clip", "clamp_min")
def clamp(op: Scribe, self: ir.Value, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    """Between min and max, each of which may be a tensor or missing."""
    x = self
    for kind, bound in (("Max", min), ("Min", max)):
        if bound is not None:
            x, limit = promoted(op, x, bound)
            x = getattr(op, kind)(x, limit)
    return x


@lowers("clamp_max")
def clamp_max(op: Scribe, self: ir.Value, max: Any) -> Any:  # noqa: A002
    """At most max."""
    return clamp(op, self, None, max)


@lowers("maximum", "fmax")
def maximum(op: Scribe, self: Any, other: Any) -> Any:
    """The larger of each two."""
    return arithmetic(op, "Max", self, other)


@lowers("minimum", "fmin")
def minimum(op: Scribe, self: Any, other: Any) -> Any:
    """The smaller of each two."""
    return arithmetic(op, "Min", self, other)


def _compare(name: str) -> Emit:
    kind, known = COMPARES[name]

    def emit(op: Scribe, self: Any, other: Any) -> Any:
        if isinstance(self, list | tuple) and isinstance(other, list | tuple):
            return _same_lists(op, list(self), list(other), is_equal=name == "eq")
        if not isinstance(self, ir.Value | Sym) and not isinstance(other, ir.Value | Sym):
            return known(self, other)
        if is_number(self, other):
            is_float = any(v.kind == "float" if isinstance(v, Sym) else isinstance(v, float) for v in (self, other))
            dtype = ir.DataType.DOUBLE if is_float else ir.DataType.INT64
            truth = getattr(op, kind)(scalar(op, self, dtype), scalar(op, other, dtype))
            return Sym(op.Not(truth) if name == "ne" else truth, "bool")
        a, b = promoted(op, self, other)
        if a.dtype == ir.DataType.BOOL and kind != "Equal":
            a, b = (op.cast(x, ir.DataType.INT32) for x in (a, b))
        truth = getattr(op, kind)(a, b)
        return op.Not(truth) if name == "ne" else truth

    return emit


def _same_lists(op: Scribe, a: list[Any], b: list[Any], *, is_equal: bool) -> Any:
    """Whether two lists of numbers are alike."""
    if len(a) != len(b):
        return not is_equal
    truths = [TABLE["eq"](op, x, y) for x, y in zip(a, b, strict=True)]
    if any(truth is False for truth in truths):
        return not is_equal
    unknown = [truth.value for truth in truths if isinstance(truth, Sym)]
    if not unknown:
        return is_equal
    both = unknown[0]
    for truth in unknown[1:]:
        both = op.And(both, truth)
    return Sym(both if is_equal else op.Not(both), "bool")


TABLE.update({name: _compare(name) for name in COMPARES})
TABLE.update({name: TABLE[of] for name, of in ALIASES.items()})


def _truth(op: Scribe, x: Any) -> ir.Value:
    return op.cast(x, ir.DataType.BOOL) if isinstance(x, ir.Value) else scalar(op, x, ir.DataType.BOOL)


def _logical(kind: str) -> Emit:
    def emit(op: Scribe, self: Any, other: Any) -> Any:
        return getattr(op, kind)(_truth(op, self), _truth(op, other))

    return emit


def _bitwise(name: str) -> Emit:
    known = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}[name]

    def emit(op: Scribe, self: Any, other: Any) -> Any:
        if is_known(self, other):
            return known(self, other)
        if is_number(self, other):
            return Sym(getattr(op, name.capitalize())(_truth(op, self), _truth(op, other)), "bool")
        a, b = promoted(op, self, other)
        if a.dtype == ir.DataType.BOOL:
            return getattr(op, name.capitalize())(a, b)
        return getattr(op, f"Bitwise{name.capitalize()}")(a, b)

    return emit


for _name in ("and", "or", "xor"):
    TABLE[f"logical_{_name}"] = _logical(_name.capitalize())
    TABLE[f"bitwise_{_name}"] = TABLE[f"__{_name}__"] = TABLE[f"__i{_name}__"] = _bitwise(_name)


@lowers("logical_not")
def logical_not(op: Scribe, self: ir.Value) -> Any:
    """True where it is 0."""
    return op.Not(_truth(op, self))


@lowers("bitwise_not")
def bitwise_not(op: Scribe, self: ir.Value) -> Any:
    """Every bit the other way."""
    return op.Not(self) if own(self) == ir.DataType.BOOL else op.BitwiseNot(self)


@lowers("isnan")
def isnan(op: Scribe, self: ir.Value) -> Any:
    """True where it is no number."""
    return op.IsNaN(floating(op, self))


@lowers("isinf")
def isinf(op: Scribe, self: ir.Value) -> Any:
    """True where it is without end."""
    return op.IsInf(floating(op, self))


@lowers("isfinite")
def isfinite(op: Scribe, self: ir.Value) -> Any:
    """True where it is a number that ends."""
    return op.Not(op.Or(isnan(op, self), isinf(op, self)))


@lowers("nan_to_num")
def nan_to_num(op: Scribe, self: ir.Value, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Any:
    """Numbers in the place of what is none."""
    limit = float(np.finfo(own(self).numpy()).max)
    x = op.Where(op.IsNaN(self), op.scalar(nan or 0, self), self)
    above, below = (limit if posinf is None else posinf), (-limit if neginf is None else neginf)
    x = op.Where(op.IsInf(x, detect_negative=0), op.scalar(above, self), x)
    return op.Where(op.IsInf(x, detect_positive=0), op.scalar(below, self), x)


@lowers("lerp")
def lerp(op: Scribe, self: ir.Value, end: ir.Value, weight: Any) -> Any:
    """From self to end by weight."""
    return op.Add(self, op.Mul(op.Sub(end, self), scalar(op, weight, own(self))))


@lowers("addcmul")
def addcmul(op: Scribe, self: ir.Value, tensor1: ir.Value, tensor2: ir.Value, value: Any = 1) -> Any:
    """Self + value * tensor1 * tensor2."""
    return add(op, self, op.Mul(tensor1, tensor2), value)


@lowers("addcdiv")
def addcdiv(op: Scribe, self: ir.Value, tensor1: ir.Value, tensor2: ir.Value, value: Any = 1) -> Any:
    """Self + value * tensor1 / tensor2."""
    return add(op, self, op.Div(tensor1, tensor2), value)


# ---- reductions


def reduced(op: Scribe, kind: str, x: ir.Value, dim: Any, keepdim: bool) -> ir.Value:
    """A reduction over axes, or all."""
    if x.shape is not None and len(x.shape) == 0:
        return op.Identity(x)  # type: ignore[no-any-return]
    if dim is None or dim == []:
        return getattr(op, kind)(x, None, keepdims=int(keepdim))  # type: ignore[no-any-return]
    axes = [dim] if isinstance(dim, int) else list(dim)
    return getattr(op, kind)(x, op.const(axes), keepdims=int(keepdim))  # type: ignore[no-any-return]


def _counted(op: Scribe, x: ir.Value, dtype: Any) -> ir.Value:
    """What a sum is taken of: truths and small integers as int64."""
    if dtype is not None:
        return in_dtype(op, x, dtype)
    return x if own(x) in FLOATS else op.cast(x, ir.DataType.INT64)


@lowers("sum")
def sum_(op: Scribe, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The sum; of a list of numbers as well."""
    if isinstance(self, list):
        total: Any = 0
        for number in self:
            total = add(op, total, number)
        return total
    return reduced(op, "ReduceSum", _counted(op, self, dtype), dim, keepdim)


@lowers("mean")
def mean(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The mean."""
    return reduced(op, "ReduceMean", in_dtype(op, self, dtype), dim, keepdim)


@lowers("nansum")
def nansum(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The sum of what are numbers."""
    return sum_(op, op.Where(op.IsNaN(self), op.scalar(0, self), self), dim, keepdim, dtype)


@lowers("prod")
def prod(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The product."""
    return reduced(op, "ReduceProd", _counted(op, self, dtype), dim, keepdim)


@lowers("amax")
def amax(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest."""
    return reduced(op, "ReduceMax", self, dim, keepdim)


@lowers("amin")
def amin(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest."""
    return reduced(op, "ReduceMin", self, dim, keepdim)


def _extreme(reduce: str, place: str, of_two: str) -> Emit:
    """The extreme of all; of two tensors or numbers; or along an axis, with where it is."""

    def emit(op: Scribe, self: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if isinstance(self, list):
            best = self[0]
            for number in self[1:]:
                best = arithmetic(op, of_two, best, number)
            return best
        other = dim if isinstance(dim, ir.Value | Sym) or is_number(self) else other
        if other is not None:
            return arithmetic(op, of_two, self, other)
        if dim is None:
            return reduced(op, reduce, self, None, False)
        values = reduced(op, reduce, self, dim, keepdim)
        return values, getattr(op, place)(self, axis=axis_of(op, self, dim), keepdims=int(keepdim))

    return emit


TABLE["max"] = _extreme("ReduceMax", "ArgMax", "Max")
TABLE["min"] = _extreme("ReduceMin", "ArgMin", "Min")


def _arg(kind: str) -> Emit:
    def emit(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return op.Squeeze(getattr(op, kind)(op.Reshape(self, op.const([-1])), axis=0, keepdims=1), op.const([0]))
        return getattr(op, kind)(self, axis=axis_of(op, self, dim), keepdims=int(keepdim))

    return emit


TABLE |= {"argmax": _arg("ArgMax"), "argmin": _arg("ArgMin")}


def _some(op: Scribe, x: Any, kind: str, dim: Any, keepdim: bool) -> Any:
    if isinstance(x, list):
        return all(x) if kind == "ReduceMin" else any(x)
    return op.cast(reduced(op, kind, op.cast(_truth(op, x), ir.DataType.INT32), dim, keepdim), ir.DataType.BOOL)


@lowers("all")
def all_(op: Scribe, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether all are true."""
    return _some(op, self, "ReduceMin", dim, keepdim)


@lowers("any")
def any_(op: Scribe, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether one is true."""
    return _some(op, self, "ReduceMax", dim, keepdim)


def _variance(op: Scribe, x: ir.Value, dim: Any, correction: Any, keepdim: bool) -> tuple[ir.Value, ir.Value]:
    """(variance, mean): the sum of squares over n - correction."""
    if dim is None and x.shape is None:  # of all, its rank needn't be known
        x = op.Reshape(x, op.const([-1]))
    axes = axes_of(op, x, dim)
    centre = op.ReduceMean(x, op.const(axes), keepdims=1)
    away = op.Sub(x, centre)
    total = op.ReduceSum(op.Mul(away, away), op.const(axes), keepdims=int(keepdim))
    count = op.ReduceProd(op.Gather(op.Shape(x), op.const(axes), axis=0), None, keepdims=0)
    rest = op.Sub(op.cast(count, own(x)), op.scalar(1 if correction is None else correction, x))
    variance = op.Div(total, op.Max(rest, op.scalar(0, x)))
    return variance, centre if keepdim else op.Squeeze(centre, op.const(axes))


def _spread(take_root: bool, with_mean: bool) -> Emit:
    def emit(
        op: Scribe,
        self: ir.Value,
        dim: Any = None,
        unbiased: Any = None,
        keepdim: bool = False,
        correction: Any = None,
    ) -> Any:
        if isinstance(dim, bool):  # std(unbiased)
            dim, unbiased = None, dim
        correction = int(unbiased) if unbiased is not None else correction
        variance, centre = _variance(op, self, dim, correction, keepdim)
        made = op.Sqrt(variance) if take_root else variance
        return (made, centre) if with_mean else made

    return emit


TABLE |= {"var": _spread(False, False), "std": _spread(True, False)}
TABLE |= {"var_mean": _spread(False, True), "std_mean": _spread(True, True)}


@lowers("norm", "linalg_vector_norm", "linalg_norm", "frobenius_norm")
def norm(
    op: Scribe, self: ir.Value, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None, ord: Any = None
) -> Any:  # noqa: A002
    """The p-norm over axes, or of all."""
    x = in_dtype(op, self, dtype)
    p = 2 if (ord if ord is not None else p) in (None, "fro") else (ord if ord is not None else p)
    if p in (1, 2):
        return reduced(op, f"ReduceL{int(p)}", x, dim, keepdim)
    size = op.Abs(x)
    if p in (math.inf, -math.inf):
        return reduced(op, "ReduceMax" if p > 0 else "ReduceMin", size, dim, keepdim)
    if p == 0:
        return reduced(op, "ReduceSum", op.cast(op.cast(x, ir.DataType.BOOL), own(x)), dim, keepdim)
    total = reduced(op, "ReduceSum", op.Pow(size, op.scalar(p, x)), dim, keepdim)
    return op.Pow(total, op.scalar(1 / p, x))


@lowers("logsumexp", "special_logsumexp")
def logsumexp(op: Scribe, self: ir.Value, dim: Any, keepdim: bool = False) -> Any:
    """The logarithm of the sum of exponentials, whatever their size."""
    return reduced(op, "ReduceLogSumExp", self, dim, keepdim)


@lowers("cumsum")
def cumsum(op: Scribe, self: ir.Value, dim: int, dtype: Any = None) -> Any:
    """The running sum."""
    return op.CumSum(_counted(op, self, dtype), op.const(axis_of(op, self, dim)))


def _so_far(op: Scribe, x: ir.Value, dim: int, blank: Any) -> tuple[ir.Value, list[int]]:
    """[..., i, j]: x at j up to i along an axis, which is brought to the end, and a blank behind; and the way back."""
    rank, axis = op.rank(x), axis_of(op, x, dim)
    last = [i for i in range(rank) if i != axis] + [axis]
    row = op.Unsqueeze(op.Transpose(x, perm=last), op.const([-2]))
    square = op.Concat(op.size(x, axis), op.size(x, axis), axis=0)
    seen = op.Trilu(op.Expand(op.const(True, np.bool_), square), None, upper=0)
    return op.Where(seen, row, op.scalar(blank, x)), [last.index(i) for i in range(rank)]


@lowers("cumprod")
def cumprod(op: Scribe, self: ir.Value, dim: int, dtype: Any = None) -> Any:
    """The running product."""
    parts, back = _so_far(op, _counted(op, self, dtype), dim, 1)
    return op.Transpose(op.ReduceProd(parts, op.const([-1]), keepdims=0), perm=back)


def _running(kind: str, place: str, blank: float) -> Emit:
    def emit(op: Scribe, self: ir.Value, dim: int) -> Any:
        parts, back = _so_far(op, floating(op, self), dim, blank)
        best = op.Transpose(op.ReduceMax(parts, op.const([-1]), keepdims=0) if kind == "max" else
                            op.ReduceMin(parts, op.const([-1]), keepdims=0), perm=back)  # fmt: skip
        return best, op.Transpose(getattr(op, place)(parts, axis=-1, keepdims=0, select_last_index=1), perm=back)

    return emit


TABLE |= {"cummax": _running("max", "ArgMax", -math.inf), "cummin": _running("min", "ArgMin", math.inf)}


@lowers("count_nonzero")
def count_nonzero(op: Scribe, self: ir.Value, dim: Any = None) -> Any:
    """How many are not 0."""
    return reduced(op, "ReduceSum", op.cast(_truth(op, self), ir.DataType.INT64), dim, False)


@lowers("kthvalue")
def kthvalue(op: Scribe, self: ir.Value, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest along an axis, and its place."""
    found = op.TopK(self, op.const([k]), axis=dim, largest=0, outputs=2)
    last = [op.Gather(part, op.const([k - 1]), axis=dim) for part in found]
    return tuple(part if keepdim else op.Squeeze(part, op.const([dim])) for part in last)


@lowers("median")
def median(op: Scribe, self: ir.Value, dim: Any = None, keepdim: bool = False) -> Any:
    """The middle one, the lower of two."""
    x = op.Reshape(self, op.const([-1])) if dim is None else self
    axis = 0 if dim is None else axis_of(op, self, dim)
    length = op.sizes_of(x)[axis]
    if length is None:
        raise Fault("the median over an axis of free size", is_refusal=True)
    values, places = kthvalue(op, x, (length + 1) // 2, axis, keepdim and dim is not None)
    return values if dim is None else (values, places)


# ---- products


@lowers("matmul", "mm", "bmm", "mv", "dot", "__matmul__", "inner_product", "linalg_matmul", "vdot")
def matmul(op: Scribe, self: ir.Value, other: Any = None, mat2: Any = None, vec: Any = None, tensor: Any = None) -> Any:
    """The product over the last axis and the last but one, broadcast over the others."""
    right = next(x for x in (other, mat2, vec, tensor) if x is not None)
    return op.MatMul(self, right)


def _plus(op: Scribe, self: Any, made: ir.Value, beta: Any, alpha: Any) -> Any:
    """Beta * self + alpha * made."""
    made = made if is_known(alpha) and alpha == 1 else op.Mul(made, scalar(op, alpha, own(made)))
    if is_known(beta) and beta == 0:
        return made
    return op.Add(self if is_known(beta) and beta == 1 else op.Mul(self, scalar(op, beta, own(made))), made)


@lowers("addmm")
def addmm(op: Scribe, self: ir.Value, mat1: ir.Value, mat2: ir.Value, beta: Any = 1, alpha: Any = 1) -> Any:
    """Beta * self + alpha * mat1 @ mat2; a linear layer where mat2 is a weight's transpose."""
    if is_known(alpha, beta):
        turned = mat2.producer()
        if turned is not None and turned.op_type == "Transpose" and turned.attributes.get_ints("perm", ()) == (1, 0):
            return op.Gemm(mat1, turned.inputs[0], self, alpha=float(alpha), beta=float(beta), transB=1)
        return op.Gemm(mat1, mat2, self, alpha=float(alpha), beta=float(beta))
    return _plus(op, self, op.MatMul(mat1, mat2), beta, alpha)


@lowers("baddbmm")
def baddbmm(op: Scribe, self: ir.Value, batch1: ir.Value, batch2: ir.Value, beta: Any = 1, alpha: Any = 1) -> Any:
    """Beta * self + alpha * batch1 @ batch2."""
    return _plus(op, self, op.MatMul(batch1, batch2), beta, alpha)


@lowers("addbmm")
def addbmm(op: Scribe, self: ir.Value, batch1: ir.Value, batch2: ir.Value, beta: Any = 1, alpha: Any = 1) -> Any:
    """Beta * self + alpha * the sum of the products."""
    made = op.ReduceSum(op.MatMul(batch1, batch2), op.const([0]), keepdims=0)
    return _plus(op, self, made, beta, alpha)


@lowers("addmv")
def addmv(op: Scribe, self: ir.Value, mat: ir.Value, vec: ir.Value, beta: Any = 1, alpha: Any = 1) -> Any:
    """Beta * self + alpha * mat @ vec."""
    return _plus(op, self, op.MatMul(mat, vec), beta, alpha)


@lowers("outer", "ger")
def outer(op: Scribe, self: ir.Value, vec2: ir.Value) -> Any:
    """Each of self times each of vec2."""
    return op.Mul(op.Unsqueeze(self, op.const([1])), op.Unsqueeze(vec2, op.const([0])))


@lowers("einsum")
def einsum(op: Scribe, equation: str, tensors: list[ir.Value], path: Any = None) -> Any:
    """By Einstein's summation; axes of `...` are ONNX's as well."""
    return op.Einsum(*tensors, equation=equation.replace(" ", ""))


@lowers("tril")
def tril(op: Scribe, self: ir.Value, diagonal: int = 0) -> Any:
    """What is below a diagonal, itself included."""
    return op.Trilu(self, op.const(diagonal), upper=0)


@lowers("triu")
def triu(op: Scribe, self: ir.Value, diagonal: int = 0) -> Any:
    """What is above a diagonal, itself included."""
    return op.Trilu(self, op.const(diagonal), upper=1)


@lowers("cosine_similarity")
def cosine_similarity(op: Scribe, x1: ir.Value, x2: ir.Value, dim: int = 1, eps: float = 1e-8) -> Any:
    """The product of two directions."""
    axes = op.const([dim])
    lengths = [op.Max(op.ReduceL2(x, axes, keepdims=1), op.scalar(eps, x)) for x in (x1, x2)]
    return op.ReduceSum(op.Mul(op.Div(x1, lengths[0]), op.Div(x2, lengths[1])), axes, keepdims=0)


@lowers("pairwise_distance")
def pairwise_distance(
    op: Scribe, x1: ir.Value, x2: ir.Value, p: Any = 2, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of the difference, plus eps."""
    away = op.Sub(x1, x2)
    return norm(op, op.Add(away, op.scalar(eps, away)), p, [-1], keepdim)


@lowers("cdist")
def cdist(op: Scribe, x1: ir.Value, x2: ir.Value, p: float = 2, compute_mode: Any = None) -> Any:
    """The p-norm between each row of one and each of the other."""
    away = op.Sub(op.Unsqueeze(x1, op.const([-2])), op.Unsqueeze(x2, op.const([-3])))
    return norm(op, away, p, [-1])


@lowers("cross", "linalg_cross")
def cross(op: Scribe, self: ir.Value, other: ir.Value, dim: Any = None) -> Any:
    """The vector product along an axis of three."""
    axis = -1 if dim is None else dim
    turned = [[op.Gather(x, op.const(order), axis=axis) for order in ([1, 2, 0], [2, 0, 1])] for x in (self, other)]
    return op.Sub(op.Mul(turned[0][0], turned[1][1]), op.Mul(turned[0][1], turned[1][0]))


@lowers("heaviside")
def heaviside(op: Scribe, self: ir.Value, values: ir.Value) -> Any:
    """0 below 0, 1 above, and a value at it."""
    zero = op.scalar(0, self)
    return op.Where(op.Equal(self, zero), op.cast(values, own(self)), op.cast(op.Greater(self, zero), own(self)))


@lowers("copysign")
def copysign(op: Scribe, self: ir.Value, other: Any) -> Any:
    """The size of one and the sign of the other."""
    a, b = promoted(op, self, other, to_float=True)
    size = op.Abs(a)
    return op.Where(op.Less(b, op.scalar(0, b)), op.Neg(size), size)


@lowers("hypot")
def hypot(op: Scribe, self: ir.Value, other: ir.Value) -> Any:
    """The root of the sum of squares."""
    return op.Sqrt(op.Add(op.Mul(self, self), op.Mul(other, other)))


@lowers("deg2rad")
def deg2rad(op: Scribe, self: ir.Value) -> Any:
    """From degrees to radians."""
    return op.Mul(floating(op, self), op.scalar(math.pi / 180, floating(op, self)))


@lowers("rad2deg")
def rad2deg(op: Scribe, self: ir.Value) -> Any:
    """From radians to degrees."""
    return op.Mul(floating(op, self), op.scalar(180 / math.pi, floating(op, self)))


@lowers("sinc", "special_sinc")
def sinc(op: Scribe, self: ir.Value) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = op.Mul(self, op.scalar(math.pi, self))
    is_zero = op.Equal(x, op.scalar(0, x))
    return op.Where(is_zero, op.scalar(1, x), op.Div(op.Sin(x), op.Where(is_zero, op.scalar(1, x), x)))


@lowers("_cdist_forward")
def cdist_forward(op: Scribe, x1: ir.Value, x2: ir.Value, p: float, compute_mode: Any = None) -> Any:
    """The same, taken apart."""
    return cdist(op, x1, x2, p)


@lowers("_trilinear")
def trilinear(op: Scribe, i1: ir.Value, i2: ir.Value, i3: ir.Value, expand1: Any, expand2: Any, expand3: Any,
              sumdim: Any, unroll_dim: int = 1) -> Any:  # fmt: skip
    """The sum of the product of three, each with more axes."""
    wide = [op.Unsqueeze(x, op.const(list(at))) if at else x for x, at in ((i1, expand1), (i2, expand2), (i3, expand3))]
    return op.ReduceSum(op.Mul(op.Mul(wide[0], wide[1]), wide[2]), op.const(list(sumdim)), keepdims=0)


@lowers("bilinear")
def bilinear(op: Scribe, input1: ir.Value, input2: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> Any:
    """x1' W_o x2 for each output o."""
    made = op.Einsum(input1, weight, input2, equation="...i,oij,...j->...o")
    return made if bias is None else op.Add(made, bias)
