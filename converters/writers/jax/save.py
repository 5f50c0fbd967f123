"""A model as StableHLO, by jax.export: a program with its weights inside, for any platform, its free sizes free.

exported = jax.export.deserialize(bytearray(pathlib.Path("model.stablehlo").read_bytes()))  # import jax.export
outputs = exported.call(*inputs)  # where these are int64: jax.config.update("jax_enable_x64", True) before
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from zoo.converters.runner import TensorSpec
from zoo.converters.writers.driver import has_strings
from zoo.converters.writers.jax.runner import from_numpy
from zoo.converters.writers.jax.sizes import bounds
from zoo.converters.writers.jax.trace import Untraceable
from zoo.converters.writers.jax.types import held, sixty_four_bits, to_numpy
from zoo.converters.writers.jax.writer import placed
from zoo.errors import HubError, UsageError

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def save(
    native: Any, path: Path, inputs: Sequence[TensorSpec], feeds: Mapping[str, Any], dtype: str | None = None
) -> dict[str, int]:
    """Write the program; inputs come in the graph's order. `dtype` is that of its weights, where it is another.

    A size that can't stay free is that of the example `feeds`: returned is which are so, by their names.

    Raises UsageError for what a program can't take, HubError for a model whose shapes depend on numbers.
    """
    if any(has_strings(node) for node in native.apply.order) or any("(" in spec.dtype for spec in inputs):
        raise UsageError("StableHLO has no strings, sequences and optionals, which this model has")
    with sixty_four_bits():
        native = placed(native, device=None, dtype=dtype)
        exported, fixed = _exported(native, inputs, feeds)
        path.write_bytes(bytes(exported.serialize()))
    return fixed


def _exported(
    native: Any, inputs: Sequence[TensorSpec], feeds: Mapping[str, Any]
) -> tuple[export.Exported, dict[str, int]]:
    """With all free sizes free, or if the program can't have that, with the first one of each input: the batch.

    What a table of places is long, say, is a bound of a size: the program is traced anew with it.
    """
    program = jax.jit(lambda *args: native.apply(native.params, args))
    sizes = {
        name: size
        for spec in inputs
        for name, size in zip(spec.shape, np.shape(feeds[spec.name]), strict=True)
        if isinstance(name, str)
    }
    first = {spec.shape[0] for spec in inputs if spec.shape}
    problem: Exception | None = None
    for free in dict.fromkeys((tuple(sizes), tuple(name for name in sizes if name in first), ())):
        known: tuple[str, ...] = ()
        while True:
            with bounds() as found:
                try:
                    made = export.export(program, platforms=PLATFORMS)(*_arguments(inputs, feeds, free, known))
                    return made, {name: size for name, size in sizes.items() if name not in free}
                except (Untraceable, UsageError):
                    raise
                except Exception as error:  # noqa: BLE001 - lowerings report symbols that they can't compare in many ways
                    problem = error
            if set(found) <= set(known):
                break
            known = (*known, *dict.fromkeys(b for b in found if b not in known))
    raise HubError(f"jax can't export the model: {' '.join(str(problem).split())[:500]}") from problem


def _arguments(
    inputs: Sequence[TensorSpec], feeds: Mapping[str, Any], free: Sequence[str], known: Sequence[str]
) -> list[Any]:
    """The shapes and dtypes of the inputs; equal names are one symbol. `known` is what is taken for granted of them."""
    scope, symbols = export.SymbolicScope(known), {}
    for i, name in enumerate(free):
        word = re.sub(r"\W", "_", name)
        (symbols[name],) = export.symbolic_shape(word if word.isidentifier() else f"size_{i}", scope=scope)
    return [
        jax.ShapeDtypeStruct(
            tuple(symbols.get(str(d), n) for d, n in zip(spec.shape, np.shape(feeds[spec.name]), strict=True)),
            held(feeds[spec.name].dtype),
        )
        for spec in inputs
    ]


def run_saved(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], feeds: Mapping[str, Any]
) -> list[Any]:
    """The outputs of a program, loaded from its file."""
    with sixty_four_bits():
        made = export.deserialize(bytearray(path.read_bytes())).call(*(from_numpy(feeds[spec.name]) for spec in inputs))
        values = [made[spec.name] for spec in outputs] if len(outputs) > 1 else [made]
        return [to_numpy(value, spec.dtype) for value, spec in zip(values, outputs, strict=True)]
