"""A Gluon block as a Runner: hybridized; where no symbol can stand for it, one operator after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.mxnet.gluon.writer import Model, placed
from zoo.converters.writers.mxnet.runner import from_numpy
from zoo.converters.writers.mxnet.trace import Untraceable
from zoo.converters.writers.mxnet.types import to_numpy
from zoo.converters.writers.mxnet.writer import context
from zoo.converters.writers.onnx.runner import check
from zoo.errors import HubError, ZooError

__all__ = ["from_numpy", "runner"]


class GluonRunner:
    """Calls the block."""

    def __init__(self, native: Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: str) -> None:
        self.inputs, self.outputs, self.ctx = inputs, outputs, context(device)
        self.native = placed(native, device=device, dtype=None)
        self.native.hybridize(active=all("(" not in spec.dtype for spec in (*inputs, *outputs)))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input that does not fit; HubError when MXNet fails."""
        check(self.inputs, feeds)
        try:
            with mx.util.np_shape(True), self.ctx:
                given = [from_numpy(feeds[spec.name]) for spec in self.inputs]
                made = self._made(given)
                named = made if len(self.outputs) > 1 else {self.outputs[0].name: made}
                return {spec.name: to_numpy(named[spec.name]) for spec in self.outputs}
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise HubError(f"Gluon failed: {reason[-500:]}") from error

    def _made(self, given: Sequence[Any]) -> Any:
        try:
            return self.native(*given)
        except Untraceable:
            if not self.native._active:
                raise
            self.native.hybridize(active=False)
            return self.native(*given)


def runner(
    native: Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str = "auto"
) -> GluonRunner:
    """A Runner of a block on a device."""
    return GluonRunner(native, inputs, outputs, device)
