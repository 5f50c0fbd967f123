"""Calls of torch's aten operators -> ONNX nodes: values, promotion of dtypes, and how a call finds its function.

One table serves every format of torch's that holds a graph: `TABLE[name]` is a function with the operator's own
arguments under their names in aten's schema (native_functions.yaml), whichever overload. What an argument is:

    a tensor                    ir.Value
    a number that is known      int, float, bool
    one that is not             Sym, a tensor of no axes that stands for a Python number (`x.size(0)`)
    a list, None, text          the same of Python; a dtype is its number in c10::ScalarType

A reader hands tensors over as Ref, whose value an in-place operator replaces. A view knows what it is a view of, so
that `x[:, 0] = y` changes x.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe

Emit = Callable[..., Any]
TABLE: dict[str, Emit] = {}
VIEWS: set[str] = set()

# c10::ScalarType
DTYPES: dict[int, ir.DataType] = {
    0: ir.DataType.UINT8,
    1: ir.DataType.INT8,
    2: ir.DataType.INT16,
    3: ir.DataType.INT32,
    4: ir.DataType.INT64,
    5: ir.DataType.FLOAT16,
    6: ir.DataType.FLOAT,
    7: ir.DataType.DOUBLE,
    11: ir.DataType.BOOL,
    15: ir.DataType.BFLOAT16,
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
KINDS = {"int": ir.DataType.INT64, "float": ir.DataType.DOUBLE, "bool": ir.DataType.BOOL}
SPARE = {"memory_format", "layout", "device", "pin_memory", "non_blocking", "requires_grad", "generator", "names"}


@dataclass(frozen=True, slots=True, eq=False)
class Sym:
    """A Python number that is not known: a tensor [] of int64, double or bool."""

    value: ir.Value
    kind: str  # one of KINDS


class Items(list[Any]):
    """A list of the program."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__(values)
        self.made = next(COUNT)


COUNT = count()
# Where bodies began that are written at the moment: what is older may not change in one, since it might not be run.
GUARDS: list[int] = []


def watched(target: Any) -> None:
    """Say that a list, object or tensor is about to change. Raises Fault inside a body where it is older than that."""
    if GUARDS and getattr(target, "made", -1) < GUARDS[-1]:
        what = "something is changed in place inside a branch or loop whose course is known when the model runs alone"
        raise Fault(what, is_refusal=True)


class Ref:
    """A tensor as a program knows it: in-place operators give it another value."""

    __slots__ = ("_value", "base", "made", "seen", "version", "view")

    def __init__(self, value: ir.Value, base: Ref | None = None, view: Callable[[ir.Value], ir.Value] | None = None):
        self._value, self.base, self.view = value, base, view
        self.version, self.made = 0, next(COUNT)
        self.seen = base.current() if base is not None else 0

    def current(self) -> int:
        """Goes up with every change of it or of what it is a view of."""
        return self.version + (self.base.current() if self.base is not None else 0)

    def value(self) -> ir.Value:
        """Its value now."""
        if self.base is not None and self.view is not None and self.seen != self.base.current():
            self._value, self.seen = self.view(self.base.value()), self.base.current()
        return self._value

    def assign(self, op: Scribe, value: ir.Value) -> None:
        """Give it another value; what it is a view of changes in the same places."""
        watched(self)
        if self.base is not None and self.view is not None:
            whole = self.base.value()
            flat = op.Reshape(whole, op.const([-1]))
            places = op.Reshape(op.Range(op.const(0), op.Size(whole), op.const(1)), op.Shape(whole))
            touched = op.Reshape(self.view(places), op.const([-1]))
            made = op.ScatterElements(flat, touched, op.Reshape(value, op.const([-1])), axis=0)
            self.base.assign(op, op.Reshape(made, op.Shape(whole)))
            self.seen = self.base.current()
        self._value = value
        self.version += 1


class Untold(Ref):
    """A result that an operator has and no node here computes: an error for whoever reads it."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        super().__init__(ir.Value())
        self.what = what

    def value(self) -> ir.Value:
        """Raises Fault."""
        raise Fault(f"{self.what} read, which no graph tells here", is_refusal=True)


def lowers(*names: str, is_view: bool = False) -> Callable[[Emit], Emit]:
    """Register the decorated function as what aten's operators of these names are."""

    def register(emit: Emit) -> Emit:
        for name in names:
            if name in TABLE:
                raise ValueError(f"a second aten::{name}")
            TABLE[name] = emit
            if is_view:
                VIEWS.add(name)
        return emit

    return register


def find(name: str) -> tuple[str, bool] | None:
    """The table's name for an operator, and whether it works in place; None for one that isn't known."""
    if name in TABLE:
        return name, False
    if name.endswith("_") and name[:-1] in TABLE and not name.startswith("__"):
        return name[:-1], True
    return None


def call(op: Scribe, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What an operator gives: Refs, Syms, numbers, or a list or tuple of them. Raises Fault."""
    if (found := find(name)) is None:
        raise Fault(f"the operator aten::{name[:80]} is not known", is_refusal=True)
    plain, is_in_place = found
    emit = TABLE[plain]
    try:
        bound = signature(emit).bind(op, *args, **_named(emit, kwargs))
    except TypeError as error:
        raise Fault(f"aten::{name}: {error}") from error
    first = bound.args[1] if len(bound.args) > 1 else None
    values = [held(arg) for arg in bound.args[1:]], {k: held(v) for k, v in bound.kwargs.items()}
    try:
        result = emit(op, *values[0], **values[1])
    except Fault as fault:
        if str(fault).startswith("aten::"):
            raise
        fault.args = (f"aten::{name}: {fault}",)
        raise
    out = kwargs.get("out")
    if is_in_place or isinstance(out, Ref):
        target = out if isinstance(out, Ref) else first
        if not isinstance(target, Ref):
            raise Fault(f"aten::{name} of what is no tensor")
        old = target.value()
        made = result if not old.dtype else op.cast(result, old.dtype)
        if is_in_place and old.shape is not None and made.shape is not None and len(made.shape) < len(old.shape):
            made = op.Expand(made, op.Shape(old))
        target.assign(op, made)
        return target
    if plain in VIEWS and isinstance(first, Ref):
        return _views(op, emit, first, values, result)
    return given(result)


def _named(emit: Emit, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the function's names: what overloads call `self` or `input` is its first; SPARE ones fall away."""
    names = list(signature(emit).parameters)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature(emit).parameters.values())
    made = {}
    for key, value in kwargs.items():
        if key in ("self", "input") and key not in names:
            made[names[1]] = value
        elif key in names or (takes_all and key not in SPARE) or key not in SPARE and key != "out":
            made[key] = value
    return made


def _views(op: Scribe, emit: Emit, base: Ref, values: tuple[list[Any], dict[str, Any]], result: Any) -> Any:
    """The result as views of the first argument."""
    args, kwargs = values

    def again(i: int | None) -> Callable[[ir.Value], ir.Value]:
        def view(whole: ir.Value) -> ir.Value:
            made = emit(op, whole, *args[1:], **kwargs)
            return made if i is None else made[i]  # type: ignore[no-any-return]

        return view

    if isinstance(result, ir.Value):
        return Ref(result, base, again(None))
    if isinstance(result, list | tuple):
        return type(result)(Ref(part, base, again(i)) for i, part in enumerate(result))
    return given(result)


_SIGNATURES: dict[Emit, inspect.Signature] = {}


def signature(emit: Emit) -> inspect.Signature:
    """A function's parameters, looked up once."""
    if emit not in _SIGNATURES:
        _SIGNATURES[emit] = inspect.signature(emit)
    return _SIGNATURES[emit]


def held(value: Any) -> Any:
    """An argument with the values of its Refs."""
    if isinstance(value, Ref):
        return value.value()
    if isinstance(value, list):
        return [held(part) for part in value]
    if isinstance(value, tuple):
        return tuple(held(part) for part in value)
    return value


def given(value: Any) -> Any:
    """A result with its tensors as Refs."""
    if isinstance(value, ir.Value):
        return Ref(value)
    if isinstance(value, list):
        return Items(given(part) for part in value)
    if isinstance(value, tuple):
        return tuple(given(part) for part in value)
    return value


# ---- numbers


def dtype_of(value: Any) -> ir.DataType:
    """The dtype of its number. Raises Fault."""
    if type(value) is not int or value not in DTYPES:
        raise Fault(f"a dtype of number {str(value)[:20]}", is_refusal=True)
    return DTYPES[value]


def own(value: ir.Value | None) -> ir.DataType:
    """A tensor's dtype. Raises Fault where inference didn't find it."""
    if value is None or value.dtype is None:
        raise Fault("a tensor of unknown dtype", is_refusal=True)
    return value.dtype


def scalar(op: Scribe, value: Any, dtype: ir.DataType | None = None) -> ir.Value:
    """A Python number, known or not, as a tensor [] in a dtype; without one as torch takes it."""
    if isinstance(value, Sym):
        return op.cast(value.value, dtype or (ir.DataType.FLOAT if value.kind == "float" else KINDS[value.kind]))
    if isinstance(value, ir.Value):
        return op.cast(value, dtype) if dtype else value
    if not isinstance(value, bool | int | float):
        raise Fault(f"a {type(value).__name__} where a number should be")
    if dtype is None:
        is_float = isinstance(value, float)
        dtype = (
            ir.DataType.FLOAT
            if is_float
            else ir.DataType.BOOL
            if value in (True, False) and type(value) is bool
            else ir.DataType.INT64
        )
    return op.const(clipped(value, dtype), dtype.numpy())


def clipped(value: float, dtype: ir.DataType) -> float:
    """A number brought inside a dtype, as torch's own masks of -1e9 or finfo.min are."""
    kind = dtype.numpy()
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return (
            int(min(max(value, info.min), info.max)) if np.isfinite(value) else int(info.max if value > 0 else info.min)
        )
    if kind.kind == "f" and np.isfinite(value):
        limit = float(ml_dtypes.finfo(kind).max)
        return min(max(value, -limit), limit)
    return value


def entry(op: Scribe, value: Any) -> int | ir.Value:
    """A size or index for Scribe.vector: a number, or a tensor [1] of int64."""
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return int(value)
    if isinstance(value, Sym):
        return op.Unsqueeze(op.cast(value.value, ir.DataType.INT64), op.const([0]))  # type: ignore[no-any-return]
    if isinstance(value, ir.Value):
        return op.Reshape(op.cast(value, ir.DataType.INT64), op.const([1]))  # type: ignore[no-any-return]
    raise Fault(f"{str(value)[:40]} where a size should be")


def vector(op: Scribe, values: Sequence[Any]) -> ir.Value:
    """Sizes as a tensor of int64."""
    return op.vector([entry(op, value) for value in values])


def size(op: Scribe, x: ir.Value, axis: int) -> int | Sym:
    """One size of a tensor: a number where it is known."""
    if x.shape is None:  # its rank needn't be known for that
        return Sym(op.Squeeze(op.size(x, axis), op.const([0])), "int")
    rank = op.rank(x)
    if not -rank <= axis < rank:
        raise Fault(f"axis {axis} of {rank}")
    known = op.sizes_of(x)[axis]
    return known if known is not None else Sym(op.Squeeze(op.size(x, axis), op.const([0])), "int")


def axis_of(op: Scribe, x: ir.Value, axis: Any) -> int:
    """An axis counted from the front. Raises Fault."""
    rank = max(op.rank(x), 1)
    if type(axis) is not int or not -rank <= axis < rank:
        raise Fault(f"axis {str(axis)[:20]} of {rank}")
    return axis % rank


def axes_of(op: Scribe, x: ir.Value, axes: Any) -> list[int]:
    """Axes counted from the front; all of them for none."""
    if axes is None or axes == [] or axes == ():
        return list(range(op.rank(x)))
    return [axis_of(op, x, axis) for axis in (axes if isinstance(axes, list | tuple) else [axes])]


def per_axis(value: Any, n: int, default: int | None = None) -> list[int]:
    """A number for each of n axes, out of one or all. Raises Fault."""
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [default] * n if numbers in ([], [None]) else numbers * n if len(numbers) == 1 else numbers
    if len(numbers) != n or any(type(number) is not int for number in numbers):
        raise Fault(f"{str(value)[:40]} for {n} axes")
    return [int(number) for number in numbers if number is not None]


# ---- dtypes


def _category(dtype: ir.DataType) -> int:
    return 0 if dtype == ir.DataType.BOOL else 2 if dtype in FLOATS else 1


def _wider(a: ir.DataType, b: ir.DataType) -> ir.DataType:
    """torch.promote_types."""
    if a == b or _category(a) != _category(b):
        return a if _category(a) >= _category(b) else b
    if {a, b} == {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}:
        return ir.DataType.FLOAT
    return (
        ir.DataType.from_numpy(np.promote_types(a.numpy(), b.numpy()))
        if _category(a) == 1
        else max(a, b, key=lambda d: d.itemsize)
    )


def result_dtype(op: Scribe, *operands: Any) -> ir.DataType:
    """torch.result_type: tensors go before tensors without axes, and these before Python's numbers, by category."""
    found: list[ir.DataType | None] = [None, None, None]
    for operand in operands:
        if isinstance(operand, ir.Value):
            level = 1 if operand.shape is not None and len(operand.shape) == 0 else 0
            kind = own(operand)
        else:
            level, kind = 2, _scalar_dtype(operand)
        held_kind = found[level]
        found[level] = kind if held_kind is None else _wider(held_kind, kind)
    best: ir.DataType | None = None
    for kind_ in found:
        if kind_ is not None and (best is None or _category(kind_) > _category(best)):
            best = kind_
    assert best is not None
    return best


def _scalar_dtype(value: Any) -> ir.DataType:
    kind = value.kind if isinstance(value, Sym) else type(value).__name__
    return {"bool": ir.DataType.BOOL, "int": ir.DataType.INT64}.get(kind, ir.DataType.FLOAT)


def promoted(op: Scribe, *operands: Any, to_float: bool = False) -> list[ir.Value]:
    """The operands as tensors of the one dtype that torch computes in."""
    dtype = result_dtype(op, *operands)
    dtype = ir.DataType.FLOAT if to_float and dtype not in FLOATS else dtype
    return [op.cast(x, dtype) if isinstance(x, ir.Value) else scalar(op, x, dtype) for x in operands]


def floating(op: Scribe, x: ir.Value) -> ir.Value:
    """The tensor in a floating dtype, as torch's functions take integers."""
    return x if own(x) in FLOATS else op.cast(x, ir.DataType.FLOAT)


def in_dtype(op: Scribe, x: ir.Value, dtype: Any) -> ir.Value:
    """The tensor in a dtype that an argument names, if it names one."""
    return x if dtype is None else op.cast(x, dtype_of(dtype))
