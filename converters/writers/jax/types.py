"""ONNX's dtypes as jax holds them: one table for weights, constants, inputs and outputs.

jax has no numbers of 6 bits, and XLA packs those of 2 bits wrongly (jaxlib 0.7.1: the CPU gives back one of four).
They are held in the smallest dtype that has every value of theirs; casts wrap and round as the graph's own dtype does,
and the Runner takes and gives arrays of it. Where jax is not in its 64-bit mode, 64-bit dtypes become 32-bit ones, as
everywhere in jax.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import onnx_ir as ir

from zoo.converters.dtypes import DTYPES, nearest
from zoo.errors import HubError

Type = ir.DataType
Array = np.ndarray[Any, np.dtype[Any]]
WIDER: dict[np.dtype[Any], Any] = {
    np.dtype(ml_dtypes.float6_e2m3fn): jnp.float8_e4m3fn,
    np.dtype(ml_dtypes.float6_e3m2fn): jnp.float8_e4m3fn,
    np.dtype(ml_dtypes.int2): jnp.int8,
    np.dtype(ml_dtypes.uint2): jnp.uint8,
}


FLOATS = {dtype.numpy(): dtype for dtype in DTYPES.values()}


def sixty_four_bits() -> contextlib.AbstractContextManager[Any]:
    """Jax's 64-bit mode, as long as this is open and in this thread alone."""
    if not hasattr(jax, "enable_x64"):  # before jax 0.8
        from jax.experimental import enable_x64
    else:
        enable_x64 = jax.enable_x64
    opened: contextlib.AbstractContextManager[Any] = enable_x64(True)
    return opened


def jax_dtype(dtype: ir.DataType) -> np.dtype[Any]:
    """The dtype that jax holds values of an ONNX dtype in. Raises HubError where it has none."""
    if dtype in (Type.STRING, Type.UNDEFINED):
        raise HubError(f"jax has no dtype for ONNX's {dtype.name}")
    return held(dtype.numpy())


def held(dtype: Any) -> np.dtype[Any]:
    """The dtype that jax holds values of a dtype of numpy's or ml_dtypes' in."""
    dtype = np.dtype(dtype)
    return np.dtype(jax.dtypes.canonicalize_dtype(WIDER.get(dtype, dtype)))


def to_jax(array: Array, dtype: Any = None) -> jax.Array:
    """An array as jax's, in a dtype if one is given; of a narrower floating dtype the nearest numbers that it has.

    Raises HubError for an integer that takes 64 bits where jax has 32; the ends of int64, which stand for "as far as
    it goes", become those of int32.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    to = held(array.dtype if dtype is None else dtype)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and to.itemsize == 4:
        array = _narrowed(array, np.iinfo(to))
    if array.dtype in FLOATS and to in FLOATS and array.dtype.itemsize > to.itemsize:
        array = nearest(array, FLOATS[to])
    return jnp.asarray(array.astype(to, copy=False))


def _narrowed(array: Array, limits: Any) -> Array:
    if array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max):
        return array
    ends = np.iinfo(array.dtype)
    is_end = (array == ends.min) | (array == ends.max)
    beyond = ((array < limits.min) | (array > limits.max)) & ~is_end
    if beyond.any():
        raise HubError(
            f"the graph computes with {int(array[beyond].reshape(-1)[0])}, which takes 64 bits, and jax has 32",
            hint='Set jax.config.update("jax_enable_x64", True) before you call the model.',
        )
    return np.clip(array, limits.min, limits.max)


def to_numpy(value: Any, dtype: str = "") -> Any:
    """What a model gives as numpy's, of the graph's dtype where jax has none; lists, strings and maps as they are."""
    if isinstance(value, (list, tuple)):
        return [to_numpy(item, dtype) for item in value]
    if isinstance(value, dict):
        return {key: to_numpy(item)[()] for key, item in value.items()}  # as scalars
    if value is None:
        return None
    array = np.asarray(value)
    name = dtype.rpartition("(")[2].rstrip(")")
    return array.astype(name) if name in {wide.name for wide in WIDER} else array
