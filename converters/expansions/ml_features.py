"""What ai.onnx.ml does to features, in ONNX's words: scaling, filling in, looking up, putting together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, Unknown, dtype, expands, rank
from zoo.errors import HubError

ML = "ai.onnx.ml"


def as_float(op: Builder, x: ir.Value | None) -> ir.Value:
    """A value as float32, which most operators of ai.onnx.ml compute in and give."""
    made: ir.Value = x if x is not None and x.dtype == ir.DataType.FLOAT else op.Cast(x, to=ir.DataType.FLOAT)
    return made


@expands("Scaler", ML)
def scaler(op: Builder, node: ir.Node) -> list[ir.Value]:
    """(X - offset) * scale, float32; one number for all features, or one each."""
    y = as_float(op, node.inputs[0])
    if offset := node.attributes.get_floats("offset", []):
        y = op.Sub(y, op.const(offset, np.float32))
    if scale := node.attributes.get_floats("scale", []):
        y = op.Mul(y, op.const(scale, np.float32))
    return [y]


@expands("Normalizer", ML)
def normalizer(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Each row of X over its largest element (MAX), the sum of its absolute ones (L1) or its length (L2), float32.

    A row whose norm is zero stays as it is.
    """
    norms: dict[str, Callable[..., Any]] = {"MAX": op.ReduceMax, "L1": op.ReduceL1, "L2": op.ReduceL2}
    kind = node.attributes.get_string("norm", "MAX")
    if kind not in norms:
        raise HubError(f"Normalizer with norm {kind!r}; there are {', '.join(norms)}")
    x = as_float(op, node.inputs[0])
    norm = norms[kind](x, op.const([-1]), keepdims=1)
    zero, one = op.const(0, np.float32), op.const(1, np.float32)
    return [op.Div(x, op.Where(op.Equal(norm, zero), one, norm))]


@expands("Binarizer", ML)
def binarizer(op: Builder, node: ir.Node) -> list[ir.Value]:
    """1 where X is above the threshold, 0 elsewhere, in the dtype of X."""
    x = node.inputs[0]
    threshold = op.CastLike(op.const(node.attributes.get_float("threshold", 0.0), np.float32), x)
    return [op.CastLike(op.Greater(x, threshold), x)]


@expands("Imputer", ML)
def imputer(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X [N, F] with other values where it has the replaced one (or NaN): one for all features, or one each."""
    x, get = node.inputs[0], node.attributes
    values: Any = list(get.get_floats("imputed_value_floats", []))
    replaced: Any = get.get_float("replaced_value_float", 0.0)
    kind: Any = np.float32
    if not values:
        values, kind = list(get.get_ints("imputed_value_int64s", [])), np.int64
        replaced = get.get_int("replaced_value_int64", 0)
    if not values:
        raise HubError(f"Imputer {node.name!r} has no values to put in")
    gone = op.IsNaN(x) if np.isnan(replaced) else op.Equal(x, op.CastLike(op.const(replaced, kind), x))
    return [op.Where(gone, op.CastLike(op.const(values, kind), x), x)]


@expands("FeatureVectorizer", ML)
def feature_vectorizer(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The inputs [N, C] (or [C]) side by side, each cut or filled up with zeros to its given width, float32."""
    widths = list(node.attributes.get_ints("inputdimensions", []))
    if len(widths) != len(node.inputs):
        raise HubError(f"FeatureVectorizer {node.name!r} has {len(node.inputs)} inputs and {len(widths)} widths")
    parts = []
    for x, width in zip(node.inputs, widths, strict=True):
        if x is None or x.shape is None:
            raise Unknown
        part = as_float(op, x)
        if len(x.shape) == 1:
            part = op.Unsqueeze(part, op.const([0]))
        if x.shape[-1] != width:
            if not isinstance(x.shape[-1], int):
                part = op.Pad(part, op.const([0, 0, 0, width]))
            elif x.shape[-1] < width:
                part = op.Pad(part, op.const([0, 0, 0, width - x.shape[-1]]))
            part = op.Slice(part, op.const([0]), op.const([width]), op.const([1]))
        parts.append(part)
    return [op.Concat(*parts, axis=1)]


@expands("ArrayFeatureExtractor", ML)
def array_feature_extractor(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X[..., Y], Y a list of places along the last axis; a vector X gives a matrix of one row."""
    x, places = node.inputs
    flat = op.Reshape(places, op.const([-1]))
    if rank(x) == 1:
        return [op.Unsqueeze(op.Gather(x, flat, axis=0), op.const([0]))]
    return [op.Gather(x, flat, axis=-1)]


@expands("OneHotEncoder", ML)
def one_hot_encoder(op: Builder, node: ir.Node) -> list[ir.Value]:
    """1.0 at the place [..., C] of X's category, float32; a category that is not known is all zeros.

    With zeros=0 ONNX wants an error for such a category, which no other operator can raise: it is all zeros as well.
    """
    x = node.inputs[0]
    if categories := list(node.attributes.get_strings("cats_strings", [])):
        table = op.strings(categories)
    elif numbers := list(node.attributes.get_ints("cats_int64s", [])):
        x, table = op.Cast(x, to=ir.DataType.INT64), op.const(numbers)
    else:
        raise HubError(f"OneHotEncoder {node.name!r} has no categories")
    return [op.Cast(op.Equal(op.Unsqueeze(x, op.const([-1])), table), to=ir.DataType.FLOAT)]


@expands("LabelEncoder", ML)
def label_encoder(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Each element's value in a table of keys, in X's shape; a default for what is no key."""
    keys, values, default = _tables(node)
    return [_looked_up(op, node.inputs[0], keys, values, default)]


def _tables(node: ir.Node) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Any]:
    """Keys, values and the default of a LabelEncoder of any version."""
    get = node.attributes
    if classes := list(get.get_strings("classes_strings", [])):  # version 1: strings to their places, or back
        numbers, words = np.arange(len(classes)), np.array(classes, dtype=object)
        if dtype(node.inputs[0]) == ir.DataType.STRING:
            return words, numbers, np.int64(get.get_int("default_int64", -1))
        return numbers, words, get.get_string("default_string", "_Unused")
    keys, _ = _table(node, "keys")
    values, kind = _table(node, "values")
    if len(keys) != len(values):
        raise HubError(f"LabelEncoder {node.name!r} has {len(keys)} keys and {len(values)} values")
    if (given := get.get("default_tensor")) is not None:
        tensor = given.as_tensor()
        default: Any = _numpy(tensor).reshape(-1)[0]
    else:
        default = {
            "strings": get.get_string("default_string", "_Unused"),
            "int64s": get.get_int("default_int64", -1),
            "floats": get.get_float("default_float", -0.0),
            "tensor": "_Unused" if values.dtype == object else -0.0 if values.dtype.kind == "f" else -1,
        }[kind]
    return keys, values, default


def _table(node: ir.Node, what: str) -> tuple[np.ndarray[Any, Any], str]:
    get = node.attributes
    if (tensor := get.get(f"{what}_tensor")) is not None:
        return _numpy(tensor.as_tensor()).reshape(-1), "tensor"
    if (words := get.get(f"{what}_strings")) is not None:
        return np.array(words.as_strings(), dtype=object), "strings"
    if (ints := get.get(f"{what}_int64s")) is not None:
        return np.array(ints.as_ints(), dtype=np.int64), "int64s"
    if (numbers := get.get(f"{what}_floats")) is not None:
        return np.array(numbers.as_floats(), dtype=np.float32), "floats"
    raise HubError(f"LabelEncoder {node.name!r} has no {what}")


def _numpy(tensor: ir.TensorProtocol) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.numpy()
    if tensor.dtype != ir.DataType.STRING:
        return array
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in array.reshape(-1)]
    return np.array(words, dtype=object).reshape(array.shape)


def _looked_up(
    op: Builder, x: ir.Value | None, keys: np.ndarray[Any, Any], values: np.ndarray[Any, Any], default: Any
) -> ir.Value:
    """values[i] where keys[i] is x's element, the last of equal keys; the default where none is."""

    def constant(array: np.ndarray[Any, Any]) -> ir.Value:
        return op.strings(list(array)) if array.dtype == object else op.const(array, array.dtype)

    if len(keys) == 0:
        raise HubError("a table without keys")
    expanded = op.Unsqueeze(x, op.const([-1]))
    table = constant(keys)
    same = op.Equal(expanded, table if keys.dtype == object else op.CastLike(table, x))
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        same = op.Or(same, op.And(op.IsNaN(expanded), op.IsNaN(op.CastLike(table, x))))
    found = op.Cast(same, to=ir.DataType.INT32)
    place = op.ArgMax(found, axis=-1, keepdims=0, select_last_index=1)
    is_key = op.Cast(op.ReduceMax(found, op.const([-1]), keepdims=0), to=ir.DataType.BOOL)
    otherwise = constant(np.array([default], dtype=values.dtype))
    made: ir.Value = op.Where(is_key, op.Gather(constant(values), place), otherwise)
    return made


@expands("CategoryMapper", ML)
def category_mapper(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Strings as their numbers, or numbers as their strings."""
    words = np.array(node.attributes.get_strings("cats_strings", []), dtype=object)
    numbers = np.array(node.attributes.get_ints("cats_int64s", []), dtype=np.int64)
    if len(words) != len(numbers):
        raise HubError(f"CategoryMapper {node.name!r} has {len(words)} strings for {len(numbers)} numbers")
    if dtype(node.inputs[0]) == ir.DataType.STRING:
        default: Any = node.attributes.get_int("default_int64", -1)
        return [_looked_up(op, node.inputs[0], words, numbers, default)]
    default = node.attributes.get_string("default_string", "_Unused")
    return [_looked_up(op, node.inputs[0], numbers, words, default)]
