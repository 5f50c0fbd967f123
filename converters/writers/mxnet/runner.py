"""An MXNet model as a Runner: its symbol, compiled as a CachedOp; where there is none, one operator after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.mxnet.program import Program, arrays_of, traced
from zoo.converters.writers.mxnet.trace import Untraceable
from zoo.converters.writers.mxnet.types import to_mxnet, to_numpy
from zoo.converters.writers.mxnet.writer import context
from zoo.converters.writers.onnx.runner import check
from zoo.errors import HubError, ZooError

Value = Any


class MxnetRunner:
    """Runs the symbol; a graph whose shapes depend on numbers has none."""

    def __init__(
        self, program: Program, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: str
    ) -> None:
        self.inputs, self.outputs, self.program = inputs, outputs, program
        self.ctx = context(device)
        self.arrays = {name: x.as_in_context(self.ctx) for name, x in arrays_of(program).items()}
        self.compiled: Any = None
        try:
            made, constants = traced(program, {name: mx.sym.var(name) for name in self.arrays})
            self._compile(made)
            self.arrays |= {name: to_mxnet(array, self.ctx) for name, array in constants.arrays.items()}
        except Untraceable:
            self.compiled = None

    def _compile(self, made: list[Value]) -> None:
        if any(not isinstance(x, mx.sym.Symbol) for x in made):
            raise Untraceable("an output is a sequence or an optional, which a symbol can't give")
        symbol = mx.sym.Group(made)
        self.names = symbol.list_inputs()
        self.compiled = mx.nd.CachedOp(symbol)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input that does not fit; HubError when MXNet fails."""
        check(self.inputs, feeds)
        try:
            with mx.util.np_shape(True), self.ctx:
                given = {spec.name: from_numpy(feeds[spec.name]) for spec in self.inputs}
                made = self._made(given)
                return {spec.name: to_numpy(x) for spec, x in zip(self.outputs, made, strict=True)}
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise HubError(f"MXNet failed: {reason[-500:]}") from error

    def _made(self, given: Mapping[str, Value]) -> list[Value]:
        if self.compiled is None:
            return self.program.walk(mx.nd, given, self.arrays, lambda array, name: to_mxnet(array))
        named = {**self.arrays, **given}
        made = self.compiled(*(named[name] for name in self.names))
        return list(made) if isinstance(made, (list, tuple)) else [made]


def runner(
    native: Program, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str = "auto"
) -> MxnetRunner:
    """A Runner of a program on a device."""
    return MxnetRunner(native, inputs, outputs, device)


def from_numpy(value: Any, device: Any = None) -> Any:
    """An array as MXNet's; lists of arrays alike, None as it is."""
    if isinstance(value, (list, tuple)):
        return [from_numpy(item, device) for item in value]
    return value if value is None else to_mxnet(np.asarray(value), device)
