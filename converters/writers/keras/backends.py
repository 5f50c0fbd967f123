"""What keras.ops has no word for: values that are known while a graph is traced. All that names a backend is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from zoo.converters.writers.keras.dtypes import available
from zoo.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]


def number(x: Any) -> Array | None:
    """The numbers of a tensor that has them; None of a symbolic one."""
    if isinstance(x, (np.ndarray, np.generic, int, float, bool)):
        return np.asarray(x)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return np.asarray(x.numpy()) if hasattr(x, "numpy") and not _is_traced_variable(x) else None
    if backend == "jax":
        import jax

        return None if isinstance(x, jax.core.Tracer) else np.asarray(x)
    return np.asarray(keras.ops.convert_to_numpy(x))


def _is_traced_variable(x: Any) -> bool:
    import tensorflow as tf

    return isinstance(x, tf.Variable) and not tf.executing_eagerly()


@contextmanager
def at_once() -> Iterator[None]:
    """While this is open, operators over known values are computed, not traced; in 64 bits where asked."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.init_scope():
            yield
    elif backend == "jax":
        import jax
        from jax.experimental import enable_x64

        with jax.ensure_compile_time_eval(), enable_x64():
            yield
    elif backend == "torch":
        import torch

        with torch.no_grad():
            yield
    else:
        yield


def computed(f: Callable[[], Any]) -> Any:
    """What `f` makes of known values, as arrays."""
    with at_once():
        made = f()
        return tuple(map(as_array, made)) if isinstance(made, tuple) else as_array(made)


def as_array(x: Any) -> Any:
    """A tensor that has its numbers as an array; lists of tensors as lists of arrays."""
    if isinstance(x, list):
        return [as_array(item) for item in x]
    return x if x is None or isinstance(x, np.ndarray) else np.asarray(keras.ops.convert_to_numpy(x))


def as_tensor(x: Any) -> Any:
    """An array as a tensor of the backend's, integers of 64 bits cut where it has 32; lists of them alike."""
    if isinstance(x, list):
        return [as_tensor(item) for item in x]
    if not isinstance(x, np.ndarray):
        return x
    dtype = available(x.dtype.name)
    return keras.ops.convert_to_tensor(x if dtype == x.dtype.name else x.astype(dtype))


def with_shape(x: Any, shape: tuple[int | None, ...] | None) -> Any:
    """The tensor, told the sizes that are known: TensorFlow loses them where a shape is computed."""
    if shape is not None and hasattr(x, "set_shape") and not isinstance(x, np.ndarray):
        x.set_shape(shape)
    return x


def device(name: str) -> str | None:
    """Keras' name of a device, `cpu:0` or `gpu:1`; None for `auto`, which the backend chooses. Raises UsageError."""
    if name == "auto":
        return None
    kind, _, number = name.partition(":")
    kind = {"cuda": "gpu"}.get(kind, kind)
    if kind not in ("cpu", "gpu", "tpu") or not (number.isdigit() or not number):
        raise UsageError(f"unknown device {name!r}", hint="Known: auto, cpu, cuda, cuda:1, tpu.")
    if int(number or 0) >= count(kind):
        raise UsageError(
            f"device {name!r} is not available: Keras' {keras.backend.backend()} has {count(kind)} of {kind}"
        )
    return f"{kind}:{int(number or 0)}"


def count(kind: str) -> int:
    """How many devices of a kind (cpu, gpu, tpu) the backend has."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices(kind.upper()))
    if backend == "jax":
        import jax

        try:
            return len(jax.devices(kind))
        except RuntimeError:
            return 0
    import torch

    return int({"cpu": 1, "gpu": torch.cuda.device_count()}.get(kind, 0))


def moved(model: Any, name: str) -> Any:
    """The model with its weights on a device of Keras' name, where the backend doesn't see to that itself."""
    if keras.backend.backend() == "torch":
        model.to(name.replace("gpu", "cuda"))
    return model


def has_stable_top_k() -> bool:
    """Whether keras.ops.top_k gives the first of equals first: torch's takes any."""
    return bool(keras.backend.backend() != "torch")
