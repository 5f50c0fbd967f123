"""Bound canonical graph -> flax.nnx.Module, whose state is what jax's params are, under the same nested names.

model = zoo.load("resnet50", framework="flax")
logits = model(images)
model.train()
logits = model(images, rngs=nnx.Rngs(0))  # updates the running statistics in place
optimizer = nnx.Optimizer(model, optax.adam(1e-4), wrt=nnx.Param)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import onnx_ir as ir
from flax import nnx

from zoo.converters.layout import Choice
from zoo.converters.writers import driver
from zoo.converters.writers.jax import params
from zoo.converters.writers.jax import writer as pure
from zoo.converters.writers.jax.flax import lowers
from zoo.errors import BadInput

__all__ = ["Model", "Scope", "lowers", "placed", "tensors", "write"]
Tensor = ir.TensorProtocol


class Buffer(nnx.Variable):  # type: ignore[misc,type-arg]  # flax is skipped by mypy
    """One of the author's tensors that is not trained."""


VARIABLES = {"parameter": nnx.Param, "statistic": nnx.BatchStat, "buffer": Buffer}


class Scope(nnx.Module):  # type: ignore[misc]
    """A module of the author's: it holds his tensors and modules by their names."""


class Model(Scope):
    """What the graph computes: an array, or a dict by the author's names of several.

    `train()` and `eval()` switch what batch norm and dropout do, as with nnx's own modules.
    """

    def __init__(self, native: pure.JaxModel) -> None:
        self.program = native.apply
        self.deterministic = True
        flat = params.flat(native.params)
        for value in native.apply.parameters:
            variable = VARIABLES[pure.kind(value)](flat[value.name or ""])
            *scopes, field = native.apply.paths[value.name or ""]
            scope: Any = self
            for name in scopes:
                if not isinstance(getattr(scope, attribute(name), None), Scope):
                    setattr(scope, attribute(name), Scope())
                scope = getattr(scope, attribute(name))
            setattr(scope, attribute(field), variable)

    def __call__(self, *inputs: Any, rngs: Any = None, **named: Any) -> Any:
        """Inputs in the graph's order, or by the author's names; `rngs` (nnx.Rngs or a key) is for dropout.

        Raises BadInput for inputs that don't fit.
        """
        if inputs and named:
            raise BadInput("give the inputs in order, or all of them by name")
        key = rngs.dropout() if isinstance(rngs, nnx.Rngs) else rngs
        tree, given = self.params(), named or inputs
        if self.deterministic:
            return self.program(tree, given, rngs=key)
        outputs, updates = self.program(tree, given, train=True, rngs=key)
        for name, new in params.flat(updates).items():
            self.variable(name).value = new
        return outputs

    def variable(self, name: str) -> Any:
        """The variable of one of the author's tensors."""
        held: Any = self
        for part in self.program.paths[name]:
            held = getattr(held, attribute(part))
        return held

    def params(self) -> params.Tree:
        """The variables' values as jax's params."""
        return params.nested({name: self.variable(name).value for name in self.program.paths})


# what an attribute of a module of ours may not be called
RESERVED = {*dir(Model), "program", "deterministic"}


def attribute(name: str) -> str:
    """A name as an attribute that is none of nnx.Module's own."""
    return f"{name}_" if name in RESERVED else name


def write(model: ir.Model, *, channels: Choice = "first") -> Model:
    """The native module of a bound canonical model, in inference mode, every parameter trainable. Raises HubError.

    Pictures come and go, and kernels stand, as jax's `write` says.
    """
    driver.check(model.graph, lowers)
    return Model(pure.write(model, channels=channels))


def functional(native: Model) -> pure.JaxModel:
    """The module as jax's pure pair."""
    return pure.JaxModel(native.program, native.params())


def tensors(native: Model) -> Mapping[str, Tensor]:
    """The way back: the variables as the author's tensors, under his names and in his layout."""
    return pure.tensors(functional(native))


def placed(native: Model, *, device: str | None, dtype: str | None) -> Model:
    """The module with its variables on a device, those of floating point in a dtype. Raises UsageError."""
    moved = pure.placed(functional(native), device=device, dtype=dtype)
    for name, value in params.flat(moved.params).items():
        native.variable(name).value = jax.numpy.asarray(value)
    return native
