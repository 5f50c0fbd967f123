"""A jax model as a Runner: one compiled program for each set of shapes, in jax's 64-bit mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.driver import has_strings
from zoo.converters.writers.jax.trace import RANDOM, Untraceable
from zoo.converters.writers.jax.types import sixty_four_bits, to_jax, to_numpy
from zoo.converters.writers.onnx.runner import check
from zoo.errors import HubError, UsageError, ZooError


class JaxRunner:
    """Compiles the model by jax.jit; one whose shapes depend on numbers runs one operator after the other."""

    def __init__(
        self, native: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: jax.Device
    ) -> None:
        self.inputs, self.outputs, self.device = inputs, outputs, device
        self.apply = native.apply
        with sixty_four_bits():
            self.params = jax.device_put(native.params, device)
        nodes = list(native.apply.order)
        self.is_random = any(node.op_type in RANDOM for node in nodes)
        self.is_compiled = not any(has_strings(node) for node in nodes)
        self.compiled = jax.jit(lambda params, feeds, rngs: self.apply(params, feeds, rngs=rngs))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input that does not fit; HubError when jax fails."""
        check(self.inputs, feeds)
        try:
            with sixty_four_bits(), jax.default_device(self.device):
                given = {spec.name: from_numpy(feeds[spec.name]) for spec in self.inputs}
                made = self._made(given)
                named = made if len(self.outputs) > 1 else {self.outputs[0].name: made}
                return {spec.name: to_numpy(named[spec.name], spec.dtype) for spec in self.outputs}
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise HubError(f"jax failed: {reason[:500]}") from error

    def _made(self, given: Mapping[str, Any]) -> Any:
        rngs = jax.random.key(np.random.SeedSequence().generate_state(1)[0]) if self.is_random else None
        if self.is_compiled:
            try:
                return self.compiled(self.params, given, rngs)
            except Untraceable:
                self.is_compiled = False
        return self.apply(self.params, given, rngs=rngs)


def runner(
    native: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str = "auto"
) -> JaxRunner:
    """A Runner of a model on a device; only `auto` chooses, and it takes jax's own choice."""
    return JaxRunner(native, inputs, outputs, jax_device(device))


def jax_device(name: str) -> jax.Device:
    """Jax's device of a name: auto, cpu, cuda, cuda:1, tpu. Raises UsageError with the reason."""
    if name == "auto":
        return jax.devices()[0]
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "gpu", "rocm", "tpu") or not (number.isdigit() or not number):
        raise UsageError(f"unknown device {name!r}", hint="Known: auto, cpu, cuda, cuda:1, tpu.")
    try:
        found = jax.devices(kind)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is not available: {str(error).splitlines()[0]}") from error
    if int(number or 0) >= len(found):
        raise UsageError(f"device {name!r} is not available: jax has {len(found)} of {kind}")
    return found[int(number or 0)]


def from_numpy(value: Any, device: jax.Device | None = None) -> Any:
    """An array as jax's; lists of arrays alike, strings and None as they are."""
    if isinstance(value, (list, tuple)):
        return [from_numpy(item, device) for item in value]
    if value is None or np.asarray(value).dtype.kind in "OSU":
        return value if value is None else np.asarray(value).astype(object)
    array = to_jax(np.asarray(value))
    return array if device is None else jax.device_put(array, device)
