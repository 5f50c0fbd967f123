"""If, Loop, Scan, SequenceMap and Gradient: modules whose forward is Python's own if and for; their bodies are modules.

`torch.compile` breaks the graph at a condition that depends on data, as it does for a person's code.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.driver import Body
from zoo.converters.writers.torch import lowers
from zoo.errors import HubError

Value = Any


class If(nn.Module):
    """One of two branches, each called with the values that it reads."""

    def __init__(self, then_branch: nn.Module, else_branch: nn.Module) -> None:
        super().__init__()
        self.then_branch, self.else_branch = then_branch, else_branch

    def forward(self, condition: torch.Tensor, then_args: Sequence[Any], else_args: Sequence[Any]) -> Any:
        """`condition` is a truth value of one element."""
        return self.then_branch(*then_args) if condition else self.else_branch(*else_args)


class Loop(nn.Module):
    """Calls its body until it has run `trips` times or says so; what the body scans is stacked along a new first axis.

    body(iteration, condition, *state, *captured) -> (condition, *state, *scanned)

    `scanned` is the dtype and shape of each thing scanned, for a loop that never runs; no dtype for strings.
    """

    def __init__(
        self, body: nn.Module, states: int, scanned: Sequence[tuple[torch.dtype | None, Sequence[int]]]
    ) -> None:
        super().__init__()
        self.body, self.states, self.scanned = body, states, tuple(scanned)

    def forward(
        self,
        trips: Any,
        condition: Any,
        state: Sequence[Any],
        captured: Sequence[Any],
        device: torch.device | None = None,
    ) -> tuple[Any, ...]:
        """`trips` None is no limit, `condition` None is true. Returns the last state and what was scanned."""
        condition = torch.tensor(True, device=device) if condition is None else condition
        state, rows, i = tuple(state), list[tuple[Any, ...]](), 0
        while condition and (trips is None or i < trips):
            condition, *made = self.body(torch.tensor(i, device=device), condition, *state, *captured)
            state = tuple(made[: self.states])
            rows.append(tuple(made[self.states :]))
            i += 1
        columns = zip(*rows, strict=True) if rows else [()] * len(self.scanned)
        return (*state, *(stacked(c, 0, e, device) for c, e in zip(columns, self.scanned, strict=True)))


class Scan(nn.Module):
    """Calls its body once for each place along the axes of what is scanned; results are stacked along an axis each.

    body(*state, *one of each input, *captured) -> (*state, *one of each output)

    `scanned` is the dtype and shape of one of each output, for inputs of length 0; no dtype for strings.
    """

    def __init__(
        self,
        body: nn.Module,
        input_axes: Sequence[int],
        input_backward: Sequence[bool],
        output_axes: Sequence[int],
        output_backward: Sequence[bool],
        scanned: Sequence[tuple[torch.dtype | None, Sequence[int]]],
    ) -> None:
        super().__init__()
        self.body = body
        self.input_axes, self.input_backward = tuple(input_axes), tuple(input_backward)
        self.output_axes, self.output_backward = tuple(output_axes), tuple(output_backward)
        self.scanned = tuple(scanned)

    def forward(
        self,
        state: Sequence[Any],
        inputs: Sequence[Any],
        captured: Sequence[Any],
        device: torch.device | None = None,
    ) -> tuple[Any, ...]:
        """`inputs` have one length along their axes. Returns the last state and the stacked outputs."""
        parts = [unstacked(x, axis) for x, axis in zip(inputs, self.input_axes, strict=True)]
        parts = [part[::-1] if backward else part for part, backward in zip(parts, self.input_backward, strict=True)]
        state, rows = tuple(state), list[tuple[Any, ...]]()
        for step in zip(*parts, strict=True):
            made = self.body(*state, *step, *captured)
            state = tuple(made[: len(state)])
            rows.append(tuple(made[len(state) :]))
        columns = zip(*rows, strict=True) if rows else [()] * len(self.scanned)
        outputs = []
        places = zip(columns, self.output_axes, self.output_backward, self.scanned, strict=True)
        for column, axis, backward, empty in places:
            outputs.append(stacked(column[::-1] if backward else column, axis, empty, device))
        return (*state, *outputs)


class SequenceMap(nn.Module):
    """Calls its body for each item of a sequence; gives a list for each output of the body.

    body(item, *one of each further sequence, *the further tensors, *captured) -> (one of each output)
    """

    def __init__(self, body: nn.Module, outputs: int) -> None:
        super().__init__()
        self.body, self.outputs = body, outputs

    def forward(
        self, items: Sequence[Any], others: Sequence[Any], captured: Sequence[Any]
    ) -> tuple[list[torch.Tensor], ...]:
        """`others` are lists of the same length, of which each call gets an item, and tensors that each call gets."""
        made: tuple[list[torch.Tensor], ...] = tuple([] for _ in range(self.outputs))
        for i, item in enumerate(items):
            given = (other[i] if isinstance(other, (list, tuple)) else other for other in others)
            for column, result in zip(made, self.body(item, *given, *captured), strict=True):
                column.append(result)
        return made


class Gradient(nn.Module):
    """The gradients of the sum of what its body gives, by its first inputs; zeros by those that it does not read.

    body(*differentiated, *others, *captured) -> (one tensor)
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(
        self, xs: Sequence[torch.Tensor], others: Sequence[torch.Tensor], captured: Sequence[Any]
    ) -> tuple[torch.Tensor, ...]:
        """One gradient of the shape of each of `xs`; itself with a gradient where torch records them."""
        recorded = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            given = [x.clone() if x.is_inference() else x for x in xs]
            given = [x if x.requires_grad else x.detach().requires_grad_() for x in given]
            rest = [x.clone() if x.is_inference() else x for x in others]
            (y,) = self.body(*given, *rest, *captured)
            made: tuple[torch.Tensor, ...] = torch.autograd.grad(
                y.sum(), given, create_graph=recorded, materialize_grads=True
            )
            return made


def stacked(
    items: Sequence[Any], axis: int, empty: tuple[torch.dtype | None, Sequence[int]], device: torch.device | None
) -> Any:
    """Tensors (or arrays of strings) along a new axis; with none, one of the dtype and shape that each would have."""
    if not items:
        dtype, shape = empty
        at = axis % (len(shape) + 1)
        sizes = (*shape[:at], 0, *shape[at:])
        return np.empty(sizes, dtype=object) if dtype is None else torch.empty(sizes, dtype=dtype, device=device)
    return torch.stack(list(items), axis) if isinstance(items[0], torch.Tensor) else np.stack(list(items), axis)


def unstacked(x: Any, axis: int) -> Sequence[Any]:
    """The parts of a tensor (or of an array of strings) along an axis, which they no longer have."""
    if isinstance(x, torch.Tensor):
        return list(x.unbind(axis))
    return [np.asarray(part, dtype=object) for part in np.moveaxis(x, axis, 0)]


@lowers("If")
def if_(w: Any, cond: Value, *, then_branch: Body, else_branch: Body) -> Value:
    """The outputs of the branch that the condition chooses."""
    (then, then_args), (other, other_args) = w.body(then_branch), w.body(else_branch)
    return _outputs(w, w.call_held(If(then, other), cond, then_args, other_args))


@lowers("Loop")
def loop(w: Any, M: Value, cond: Value, *v_initial: Value, body: Body) -> Value:
    """The body's state after its last run, and what it scanned."""
    module, captured = w.body(body)
    states = tuple(w.as_tensor(2 + i, x) for i, x in enumerate(v_initial))
    looping = Loop(module, len(states), _empty(w, body.graph.outputs[1 + len(states) :]))
    trips = None if M is None else w.number(M) if w.known(M) is not None else w.materialise(M)
    return _outputs(w, w.call_held(looping, trips, cond, states, captured, w.device()))


@lowers("Scan")
def scan(
    w: Any,
    *initial_state_and_scan_inputs: Value,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
) -> Value:
    """The body over each place along an axis of each scanned input."""
    states = len(initial_state_and_scan_inputs) - num_scan_inputs
    outputs = len(body.graph.outputs) - states
    module, captured = w.body(body)
    args = tuple(w.as_tensor(i, x) for i, x in enumerate(initial_state_and_scan_inputs))
    scanning = Scan(
        module,
        scan_input_axes or [0] * num_scan_inputs,
        [d == 1 for d in scan_input_directions or [0] * num_scan_inputs],
        scan_output_axes or [0] * outputs,
        [d == 1 for d in scan_output_directions or [0] * outputs],
        _empty(w, body.graph.outputs[states:]),
    )
    return _outputs(w, w.call_held(scanning, args[:states], args[states:], captured, w.device()))


@lowers("SequenceMap")
def sequence_map(w: Any, input_sequence: Value, *additional_inputs: Value, body: Body) -> Value:
    """The body for each item of a sequence."""
    module, captured = w.body(body)
    others = tuple(w.as_tensor(1 + i, x) for i, x in enumerate(additional_inputs))
    return _outputs(w, w.call_held(SequenceMap(module, len(body.graph.outputs)), input_sequence, others, captured))


@lowers("Gradient", DOMAIN)
def gradient(w: Any, *inputs: Value, body: Body) -> Value:
    """The gradients of the body's output by the first of its inputs, one for each output of the node."""
    module, captured = w.body(body)
    given = tuple(w.as_tensor(i, x) for i, x in enumerate(inputs))
    n = len(w.node.outputs)
    return _outputs(w, w.call_held(Gradient(module), given[:n], given[n:], captured))


@lowers("Constant")
def constant(
    w: Any,
    *,
    sparse_value: Any = None,
    value: Any = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Value:
    """A constant that is an output of its graph, most often of a branch; every other one is folded."""
    out = w.node.outputs[0]
    given = (value_float, value_floats, value_int, value_ints, value_string, value_strings)
    number = next((x for x in given if x is not None), None)
    if value is None and number is None:
        raise HubError("a Constant without a value, or with a sparse one")
    array = value.numpy() if value is not None else np.array(number, dtype=_numpy_dtype(out.dtype))
    return w.array(array, out.name or "constant")


def _numpy_dtype(dtype: ir.DataType | None) -> Any:
    return None if dtype is None else object if dtype == ir.DataType.STRING else dtype.numpy()


def _outputs(w: Any, made: Value) -> tuple[Value, ...]:
    return tuple(made[i] for i in range(len(w.node.outputs)))


def _empty(w: Any, values: Sequence[ir.Value]) -> list[tuple[torch.dtype | None, tuple[int, ...]]]:
    """Dtype and shape of values of a body, a size that is not known as 0."""
    return [
        (None if v.dtype == ir.DataType.STRING else w.dtype_of(v.dtype or ir.DataType.FLOAT), w.fixed(v))
        for v in values
    ]
