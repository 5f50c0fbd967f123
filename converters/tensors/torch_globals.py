"""Every name that a torch pickle may hold, and every function that one may call: ours, none of theirs.

A state_dict is made of the calls in CALLS. Training checkpoints and whole modules also hold what the weights do not
depend on (options, dates, paths, random states): such values are kept as placeholders. Names out of the standard
library that are not listed here are refused where they stand, called or not; names of other packages are placeholders'
classes and nothing else, and calling one is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from zoo.converters.tensors.mapped import DTYPES, DType, Source, contiguous
from zoo.converters.tensors.pickle_values import Buildable, Call, Global, Instance, Value, Wrong, key, store

# torch's storage classes by the dtype of their elements (torch/storage.py, _dtype_to_storage_type_map)
STORAGES: dict[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
# torch's dtypes are numpy's and ml_dtypes' names, but for these
ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
}


@dataclass(slots=True, eq=False)
class Storage:
    """A run of numbers that tensors are views of. The container fills in `source` once it knows where the bytes are."""

    key: str
    dtype: DType
    numel: int
    source: Source | None = None
    is_big_endian: bool = False

    @property
    def size_bytes(self) -> int:
        """How many bytes its numbers take."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A tensor: sizes, strides and an offset (both in elements of `dtype`) over a storage."""

    storage: Storage
    dtype: DType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class NumpyType(Buildable):
    """numpy's dtype as pickled: its code (`f4`), its byte order, and whether it is numbers only."""

    __slots__ = ("is_big_endian", "code", "is_plain")

    def __init__(self, code: Value, *_: Value) -> None:
        self.code = code if isinstance(code, str) else ""
        self.is_plain, self.is_big_endian = self.code.lstrip("<>=|") in CODES, self.code.startswith(">")

    def build(self, state: Value) -> None:
        """(version, byte order, subarray, names, fields, ...): numpy's dtype.__setstate__."""
        if not isinstance(state, tuple) or len(state) < 5:
            raise ValueError("a numpy dtype with a state that is none")
        self.is_big_endian = state[1] in (">", b">")
        self.is_plain = self.is_plain and state[2] is state[3] is state[4] is None


CODES = {np.dtype(name).str.lstrip("<>=|"): dtype for name, dtype in DTYPES.items() if dtype.kind in "biufc"}


class NumpyArray(Buildable):
    """numpy's array as pickled. Arrays of objects stay without data: no weights are made of them."""

    __slots__ = ("is_big_endian", "data", "dtype", "is_fortran", "shape")

    def __init__(self, *_: Value) -> None:
        self.shape: tuple[int, ...] = ()
        self.data: bytes | None = None
        self.dtype, self.is_big_endian, self.is_fortran = DTYPES["uint8"], False, False

    def build(self, state: Value) -> None:
        """(version, shape, dtype, is in Fortran's order, bytes): numpy's ndarray.__setstate__."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("a numpy array with a state that is none")
        shape, dtype, is_fortran, data = state[-4:]
        data = data.encode("latin1") if isinstance(data, str) else data
        if isinstance(dtype, NumpyType) and dtype.is_plain and isinstance(data, bytes | bytearray):
            self.shape, self.data, self.is_fortran = ints(shape), bytes(data), bool(is_fortran)
            self.dtype, self.is_big_endian = CODES[dtype.code.lstrip("<>=|")], dtype.is_big_endian

    @property
    def strides(self) -> tuple[int, ...]:
        """In elements."""
        return contiguous(self.shape[::-1])[::-1] if self.is_fortran else contiguous(self.shape)


def ints(value: Value) -> tuple[int, ...]:
    """A tuple of ints, or ValueError."""
    if not isinstance(value, tuple | list) or not all(type(n) is int for n in value):
        raise ValueError("sizes or strides that are no ints")
    return tuple(value)


def dtype_of(name: Value) -> DType:
    """The dtype that a `torch.float32` names; refused are those that NumPy and ml_dtypes don't have."""
    known = ALIASES.get(name.name, name.name) if isinstance(name, Global) and name.module == "torch" else ""
    if known not in DTYPES:
        raise Wrong(f"a tensor of {name}, which is not read", is_refusal=True)
    return DTYPES[known]


def storage_dtype(cls: Value) -> DType:
    """The dtype of a storage class such as `torch.FloatStorage` or `torch.cuda.HalfStorage`; others are refused."""
    if not isinstance(cls, Global) or not cls.module.startswith("torch") or cls.name not in STORAGES:
        what = cls if isinstance(cls, Global) else type(cls).__name__
        raise Wrong(f"a storage of class {what}, which is not read", is_refusal=True)
    return DTYPES[STORAGES[cls.name]]


def _tensor(storage: Value, offset: Value, size: Value, stride: Value, *rest: Value) -> View:
    """torch._utils._rebuild_tensor and _v2; the rest is requires_grad, hooks and metadata."""
    if not isinstance(storage, Storage) or type(offset) is not int:
        raise ValueError("a tensor without a storage or an offset")
    if len(rest) > 2 and rest[2]:  # the bits stand for a conjugation or negation not yet carried out
        what = "a tensor whose conjugate or negative bit is set; resolve_conj() and resolve_neg() carry that out"
        raise Wrong(what, is_refusal=True)
    return View(storage, storage.dtype, offset, ints(size), ints(stride))


def _tensor_v3(
    storage: Value, offset: Value, size: Value, stride: Value, grad: Value, hooks: Value, dtype: Value, *rest: Value
) -> View:
    """A tensor over an untyped storage, of a dtype that has no storage class."""
    view = _tensor(storage, offset, size, stride, grad, hooks, *rest)
    return View(view.storage, dtype_of(dtype), view.offset, view.shape, view.strides)


def _first(data: Value, *_: Value) -> Value:
    """torch._utils._rebuild_parameter and its kin: the data, without what autograd and hooks add."""
    return data


def _subclass(function: Value, cls: Value, args: Value, state: Value) -> Value:
    """torch._tensor._rebuild_from_type_v2: a tensor of a subclass; its numbers are those of the tensor."""
    if not isinstance(function, Global) or function.module != "torch._utils" or str(function) not in CALLS:
        raise ValueError(f"a tensor subclass made by {function}")
    return CALLS[str(function)](*args)


def _ordered_dict(pairs: Value = ()) -> dict[Value, Value]:
    made: dict[Value, Value] = {}
    for pair in pairs.items() if isinstance(pairs, dict) else pairs:
        store(made, list(pair))
    return made


def _default_dict(factory: Value = None, pairs: Value = ()) -> dict[Value, Value]:
    return _ordered_dict(pairs)


def _list(values: Value = (), *_: Value) -> list[Value]:
    if not isinstance(values, list | tuple | set | frozenset):
        raise ValueError("a list of something that is none")
    return list(values)


def _set(values: Value = ()) -> set[Value]:
    return {key(value) for value in _list(values)}


def _frozenset(values: Value = ()) -> frozenset[Value]:
    return frozenset(_set(values))


def _tuple(values: Value = ()) -> tuple[Value, ...]:
    return tuple(_list(values))


def _bytes(value: Value = b"", encoding: Value = "latin1", *_: Value) -> bytes:
    """`_codecs.encode`, as Python 3 writes bytes into protocol 2, and bytearray."""
    if isinstance(value, str) and encoding in ("latin1", "latin-1"):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise ValueError("bytes made of something that is none")
    return bytes(value)


def _reconstructor(cls: Value, base: Value, state: Value) -> Instance:
    """copyreg._reconstructor: how protocols 0 and 1 write any object."""
    return _new_object(cls, *([] if state is None else [state]))


def _new_object(cls: Value, *args: Value) -> Instance:
    if not isinstance(cls, Global):
        raise ValueError("an object without a class")
    made = Instance(cls, args)
    if len(args) == 1 and isinstance(args[0], dict):
        made.items.update(args[0])
    return made


def _from_buffer(data: Value, dtype: Value, shape: Value, order: Value) -> NumpyArray:
    """numpy.core.numeric._frombuffer, protocol 5."""
    made = NumpyArray()
    made.build((shape, dtype, order == "F", data))
    return made


def _placeholder(module: str, name: str, *args: Value) -> Instance:
    return Instance(Global(module, name), args)


def _named(names: dict[str, str], call: Callable[[str, str], Call]) -> dict[str, Call]:
    return {f"{module}.{name}": call(module, name) for module, some in names.items() for name in some.split()}


# Values of these classes stand in checkpoints beside the weights. They are kept as placeholders and never made.
PLACEHOLDERS = {
    "argparse": "Namespace",
    "collections": "namedtuple",
    "copyreg": "__newobj_ex__",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "functools": "partial",
    "builtins": "complex getattr object range slice type",
    "__builtin__": "complex getattr object range slice type xrange",
    "logging": "getLogger",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "random": "Random",
    "types": "SimpleNamespace",
    "uuid": "UUID",
    "numpy": "random.mtrand.RandomState",
    "numpy.core.multiarray": "scalar",
    "numpy._core.multiarray": "scalar",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random": "__RandomState_ctor",
    "torch": "device Generator",
    "torch.nn.backends.thnn": "_get_thnn_function_backend",  # what torch 0.4 and 1.0 keep in every module
}
CALLS: dict[str, Call] = _named(PLACEHOLDERS, lambda module, name: partial(_placeholder, module, name)) | {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_xla_tensor": _first,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.nn.parameter.Parameter": _first,  # torch 0.1 to 0.3
    "torch.nn.parameter.Buffer": _first,
    "torch.autograd.variable.Variable": _first,
    "torch.Size": _tuple,
    "torch.serialization._get_layout": partial(_placeholder, "torch.serialization", "_get_layout"),
    "collections.OrderedDict": _ordered_dict,
    "collections.Counter": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "collections.deque": _list,
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": _reconstructor,
    "copy_reg._reconstructor": _reconstructor,
    "copyreg.__newobj__": _new_object,
    "copy_reg.__newobj__": _new_object,
    "numpy.dtype": NumpyType,
    "numpy.core.multiarray._reconstruct": NumpyArray,
    "numpy._core.multiarray._reconstruct": NumpyArray,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
}
BUILTINS: dict[str, Call] = {
    "set": _set,
    "frozenset": _frozenset,
    "list": _list,
    "tuple": _tuple,
    "dict": _ordered_dict,
    "bytes": _bytes,
    "bytearray": _bytes,
}
CALLS |= {f"{module}.{name}": call for module in ("builtins", "__builtin__") for name, call in BUILTINS.items()}

# Names of the standard library that may stand somewhere without being called: types, and modules of plain values.
TYPES = frozenset(
    ("bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "long", "object", "set", "str", "tuple")
    + ("type", "unicode")
)
VALUE_MODULES = frozenset(
    ("argparse", "collections", "collections.abc", "datetime", "decimal", "enum", "fractions", "math", "numbers")
    + ("pathlib", "types", "typing", "uuid")
)
STANDARD_LIBRARY = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands", "exceptions", "nt", "posix"}


def refusal(module: str, name: str) -> str | None:
    """Why a name is refused: it is the standard library's, and neither a known call nor a plain type."""
    if module.partition(".")[0] not in STANDARD_LIBRARY or f"{module}.{name}" in CALLS or module in VALUE_MODULES:
        return None
    if module in ("builtins", "__builtin__") and name in TYPES:
        return None
    return "is not part of a state_dict"
