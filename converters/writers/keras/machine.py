"""Runs a program: each step's lowering of a table, over real tensors of Keras' backend.

A lowering is plain keras.ops code, `def gather(w, data, indices, *, axis=0)`; `w` is the Context of its step. Values
that are known while a graph is traced (constants, sizes, what is computed of them alone) are numpy arrays on every
backend: shape arithmetic never becomes part of the traced graph unless a size is free there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.keras import backends
from zoo.converters.writers.keras.dtypes import available, held, held_array, numpy_dtype
from zoo.converters.writers.keras.picks import RANDOM
from zoo.converters.writers.keras.program import Program, Spec, Step
from zoo.errors import HubError, ZooError

Tensor = Any  # of Keras' backend, or a numpy array where the numbers are known; a list of them; None
Array = np.ndarray[Any, np.dtype[Any]]
UNKNOWN = Spec("", None)
# what makes other numbers at every call, holds a body, or hands on what is no tensor
NOT_KNOWN = {*RANDOM, "If", "Loop", "Scan", "SequenceMap"}
# operators that hand values on as they are, known or not
HANDS_ON = {
    *("If", "Loop", "Scan", "SequenceMap", "Identity", "Optional", "OptionalHasElement", "OptionalGetElement"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength"),
}


class Context:
    """What a lowering may ask of the step that it computes."""

    def __init__(self, step: Step, program: Program, machine: Machine, values: Mapping[str, Tensor]) -> None:
        self.step, self.program, self.machine, self.values = step, program, machine, values
        self.raw = [values[name] for name in step.inputs]
        self.args = self.raw if step.op in HANDS_ON and not step.domain else [machine.as_tensor(x) for x in self.raw]

    @property
    def training(self) -> bool:
        """Whether the model trains."""
        return self.machine.training

    def spec_in(self, i: int) -> Spec:
        """What the graph knows of the i-th input."""
        name = self.step.inputs[i] if i < len(self.step.inputs) else ""
        return self.program.specs.get(name, UNKNOWN)

    def spec_out(self, i: int = 0) -> Spec:
        """What the graph knows of the i-th output."""
        return self.program.specs.get(self.step.outputs[i] if i < len(self.step.outputs) else "", UNKNOWN)

    def type_in(self, i: int) -> ir.DataType:
        """ONNX's dtype of the i-th input. Raises HubError where it is not known."""
        return self._type(self.spec_in(i), f"input {i}")

    def type_out(self, i: int = 0) -> ir.DataType:
        """ONNX's dtype of the i-th output. Raises HubError where it is not known."""
        return self._type(self.spec_out(i), f"output {i}")

    def _type(self, spec: Spec, what: str) -> ir.DataType:
        if not spec.dtype:
            raise HubError(f"{self.step.op} {self.step.name!r}: the dtype of {what} is not known")
        return ir.DataType[spec.dtype]

    def dtype_in(self, i: int) -> str:
        """Keras' dtype of the i-th input."""
        return held(self.type_in(i))

    def dtype_out(self, i: int = 0) -> str:
        """Keras' dtype of the i-th output."""
        return held(self.type_out(i))

    def is_float(self, i: int = 0) -> bool:
        """Whether the i-th input is of a floating dtype."""
        return self.type_in(i).is_floating_point()

    def is_read(self, i: int) -> bool:
        """Whether the i-th output has a name."""
        return i < len(self.step.outputs) and bool(self.step.outputs[i])

    def known(self, x: Tensor) -> Array | None:
        """The numbers of an input of the step, if they are known while the graph is traced."""
        raw = next((r for r, a in zip(self.raw, self.args, strict=True) if a is x), x)
        return raw if isinstance(raw, np.ndarray) else None

    def numbers(self, x: Tensor) -> Array | None:
        """The numbers of a value, if it has them now: known, or not traced."""
        known = self.known(x)
        return backends.number(x) if known is None else known

    def concrete(self, x: Tensor) -> Array:
        """The numbers of a value. Raises HubError where they are those of a traced graph."""
        found = self.numbers(x)
        if found is None:
            raise self.untraceable("what comes out")
        return found

    def number(self, x: Tensor) -> Any:
        """A value of one element as Python's number. Raises HubError where it is that of a traced graph."""
        return self.concrete(x).reshape(-1)[0].item()

    def ints(self, x: Tensor) -> list[Any]:
        """A vector of sizes, axes or bounds: Python's integers, or scalars of TensorFlow's where it traces them.

        Raises HubError where the backend must know them and they depend on the model's inputs.
        """
        if (array := self.numbers(x)) is not None:
            return [int(i) for i in array.reshape(-1)]
        if keras.backend.backend() != "tensorflow" or len(x.shape) > 1 or None in tuple(x.shape):
            raise self.untraceable("which size it has")
        x = keras.ops.cast(x, "int32")
        return [x] if len(x.shape) == 0 else [x[i] for i in range(x.shape[0])]

    def int_(self, x: Tensor) -> Any:
        """One number of `ints`."""
        (number,) = self.ints(x)
        return number

    def generator(self, seed: float | None = None) -> Any:
        """What the step's random numbers are drawn by: the model's own generator of this step, else a new one."""
        return self.machine.generators.get(self.step.outputs[0]) or generator_of(seed)

    def refused(self, why: str) -> HubError:
        """An error that names the node."""
        return HubError(f"{self.step.op} {self.step.name!r}: {why}")

    def untraceable(self, what: str) -> HubError:
        """An error for what only the numbers in the model's inputs say, and a traced graph has not."""
        return self.refused(f"{what} depends on the numbers in the model's inputs, which a traced graph has not")

    def body(self, program: Program) -> Callable[..., list[Tensor]]:
        """A graph that the step holds, as a function; it sees the values around it."""
        return lambda *args: self.machine.run(program, args, self.values)


class Machine:
    """Programs over tensors, by a table of lowerings. The TensorFlow writer's holds strings as well, and says how."""

    context = Context
    held = staticmethod(held_array)  # a constant, as values that are known are held
    as_tensor = staticmethod(backends.as_tensor)
    computed = staticmethod(backends.computed)

    def __init__(
        self, table: Lowerings, *, training: bool = False, generators: Mapping[str, Any] | None = None
    ) -> None:
        self.table, self.training, self.generators = table, training, generators or {}

    def run(self, program: Program, inputs: Sequence[Tensor], around: Mapping[str, Tensor] | None = None) -> list[Any]:
        """The outputs of a program. `around` are values that its steps read besides. Raises HubError."""
        values: dict[str, Any] = {"": None, **(around or {}), **dict(zip(program.inputs, inputs, strict=True))}
        values |= {name: self.held(array) for name, array in program.constants.items()}
        for step in program.steps:
            values |= zip(step.outputs, self._step(step, program, values), strict=False)
            values[""] = None
        return [values[name] for name in program.outputs]

    def _step(self, step: Step, program: Program, values: Mapping[str, Tensor]) -> Sequence[Tensor]:
        lowering = self.lowering(step, program)

        def made() -> tuple[Tensor, ...]:
            w = self.context(step, program, self, values)  # its tensors are of the scope that computes with them
            found = lowering(w, *w.args, **step.attributes)
            found = found if isinstance(found, tuple) else (found,)
            return tuple(self.settled(x, w.spec_out(i)) for i, x in enumerate(found[: len(step.outputs)]))

        raw = [values[name] for name in step.inputs]
        is_known = raw and all(x is None or isinstance(x, np.ndarray) for x in raw) and step.op not in NOT_KNOWN
        try:
            return self.computed(made) if is_known else made()  # type: ignore[no-any-return]
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            raise HubError(f"{step.op} {step.name!r} failed in {self.table.framework}: {reason}") from error

    def settled(self, x: Tensor, spec: Spec) -> Tensor:
        """A result as the graph says that it is."""
        return settled(x, spec)

    def lowering(self, step: Step, program: Program) -> Callable[..., Any]:
        """The lowering of a step's operator. Raises HubError."""
        table: Lowerings | None = self.table
        while table is not None:
            if (step.domain, step.op) in table:
                return table[step.domain, step.op]
            table = table.parent
        raise HubError(f"{step.op} {step.name!r}: no lowering for {self.table.framework}")


def settled(x: Tensor, spec: Spec) -> Tensor:
    """A result in the dtype and shape that the graph says; lists, None and what it says nothing of as they are."""
    if x is None or isinstance(x, list) or not spec.dtype or spec.kind != "tensor":
        return x
    dtype = held(ir.DataType[spec.dtype])
    if isinstance(x, (np.ndarray, np.generic, int, float)):
        x = np.asarray(x)
        return x if x.dtype.name == dtype else x.astype(numpy_dtype(dtype))
    if keras.backend.standardize_dtype(x.dtype) != available(dtype):
        x = keras.ops.cast(x, available(dtype))
    return backends.with_shape(x, spec.shape)


def generator_of(seed: float | None) -> keras.random.SeedGenerator:
    """A generator of an ONNX seed, which is a float; of the run's own without one."""
    return keras.random.SeedGenerator(None if seed is None or np.isnan(seed) else int(np.float32(seed)) & 0x7FFFFFFF)


def generators(program: Program) -> dict[str, Any]:
    """A generator for each step of a program that draws numbers, by the name of what it makes; those in bodies too."""
    made = {}
    for step in program.steps:
        if step.op in RANDOM:
            made[step.outputs[0]] = generator_of(step.attributes.get("seed"))
        for body in (value for value in step.attributes.values() if isinstance(value, Program)):
            made |= generators(body)
    return made
