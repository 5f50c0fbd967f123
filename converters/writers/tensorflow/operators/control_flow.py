"""If, Loop and Scan as tf.cond and tf.while_loop, or as Python's own with the numbers at hand; gradients."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import tensorflow as tf

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.keras.dtypes import held, numpy_dtype
from zoo.converters.writers.keras.operators import control_flow as eager
from zoo.converters.writers.keras.operators.sizes import sizes
from zoo.converters.writers.keras.program import Program, Spec
from zoo.converters.writers.tensorflow import lowers

Tensor = Any
Run = Callable[..., list[Tensor]]
UNROLLED = 16  # runs of a loop that stand in a graph one after the other; a longer one is a loop there too


@lowers("If")
def if_(w: Any, cond: Tensor, *, then_branch: Program, else_branch: Program) -> Tensor:
    """The outputs of the branch that the condition chooses."""
    if not w.is_traced(cond):
        return eager.if_(w, cond, then_branch=then_branch, else_branch=else_branch)
    branches = [staged(w, w.body(branch)) for branch in (then_branch, else_branch)]
    made = tf.cond(tf.reshape(w.machine.as_tensor(cond), []), *branches)
    return tuple(made)


def staged(w: Any, run: Run) -> Run:
    """A body whose results are tensors, and nothing else."""

    def body(*args: Tensor) -> list[Tensor]:
        made = run(*args)
        if any(x is None or isinstance(x, (list, dict)) for x in made):
            raise w.untraceable("how long the sequence is that its body gives")
        return [w.machine.as_tensor(x) for x in made]

    return body


@lowers("Loop")
def loop(w: Any, M: Tensor, cond: Tensor, *v_initial: Tensor, body: Program) -> Tensor:
    """The body's state after its last run, and what it scanned: stacked along a new first axis."""
    is_limited = M is not None and not w.is_traced(M) and (not is_traced_here() or w.number(M) <= UNROLLED)
    if not is_traced_here() or (is_limited and not w.is_traced(cond) and keeps_condition(body)):
        return eager.loop(w, M, cond, *v_initial, body=body)
    states = len(v_initial)
    run, start = staged(w, w.body(body)), [w.machine.as_tensor(x) for x in v_initial]
    after = [body.specs[name] for name in body.outputs[1 : 1 + states]]
    scanned = [body.specs[name] for name in body.outputs[1 + states :]]
    limit = None if M is None else tf.cast(tf.reshape(w.machine.as_tensor(M), []), tf.int64)
    first = tf.constant(True) if cond is None else tf.reshape(w.machine.as_tensor(cond), [])

    def goes_on(i: Tensor, holds: Tensor, state: Any, rows: Any) -> Tensor:
        return holds if limit is None else tf.logical_and(holds, i < limit)

    def again(i: Tensor, holds: Tensor, state: Any, rows: Any) -> Any:
        holds, *made = run(i, holds, *state)
        rows = [row.write(tf.cast(i, tf.int32), x) for row, x in zip(rows, made[states:], strict=True)]
        return i + 1, tf.reshape(holds, []), made[:states], rows

    i = tf.constant(0, tf.int64)
    variables = (i, first, start, [array_of(spec, 0) for spec in scanned])
    shapes = (i.shape, first.shape, invariants(start, after), [tf.TensorShape(None) for _ in scanned])
    count, _, state, rows = tf.while_loop(goes_on, again, variables, shape_invariants=shapes)
    return (*state, *(stacked(row, spec, count) for row, spec in zip(rows, scanned, strict=True)))


def is_traced_here() -> bool:
    """Whether what is computed now becomes part of a graph."""
    return not tf.executing_eagerly()


def keeps_condition(body: Program) -> bool:
    """Whether a loop's body hands its condition on, or always gives the same: only its count ends the loop."""
    name = body.outputs[0]
    makers = {step.outputs[0]: step for step in body.steps if step.op == "Identity" and not step.domain}
    while name in makers:
        name = makers[name].inputs[0]
    return name == body.inputs[1] or name in body.constants


def invariants(start: Sequence[Tensor], after: Sequence[Spec]) -> list[tf.TensorShape]:
    """The sizes that a loop's state keeps: those that the graph says of it after a run as well."""
    return [_kept(x.shape, spec.shape) for x, spec in zip(start, after, strict=True)]


def _kept(before: tf.TensorShape, after: Sequence[int | None] | None) -> tf.TensorShape:
    if before.rank is None or after is None or len(after) != before.rank:
        return tf.TensorShape(None if before.rank is None or after is not None else [None] * before.rank)
    return tf.TensorShape([a if a == b else None for a, b in zip(before.as_list(), after, strict=True)])


def array_of(spec: Spec, size: Any) -> tf.TensorArray:
    """What a loop writes its rows to."""
    shape = None if spec.shape is None else tf.TensorShape(spec.shape)
    return tf.TensorArray(dtype_of(spec), size=size, dynamic_size=True, infer_shape=False, element_shape=shape)


def stacked(rows: tf.TensorArray, spec: Spec, count: Tensor) -> Tensor:
    """The rows along a new first axis; of no rows a tensor without elements, a size that is not known being 0."""
    shape = spec.shape
    if shape is not None and None not in shape:
        return rows.stack()
    empty = tf.zeros([0, *(n or 0 for n in shape or ())], dtype_of(spec))
    made = tf.cond(count > 0, rows.stack, lambda: empty)
    return made if shape is None else tf.ensure_shape(made, [None, *shape])


def dtype_of(spec: Spec) -> tf.DType:
    """TensorFlow's dtype of a value of a body."""
    dtype = ir.DataType[spec.dtype or "FLOAT"]
    return tf.string if dtype == ir.DataType.STRING else tf.as_dtype(numpy_dtype(held(dtype)))


@lowers("Scan")
def scan(
    w: Any,
    *initial_state_and_scan_inputs: Tensor,
    body: Program,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
) -> Tensor:
    """The body over each place along an axis of each scanned input."""
    states = len(initial_state_and_scan_inputs) - num_scan_inputs
    start = [w.machine.as_tensor(x) for x in initial_state_and_scan_inputs[:states]]
    inputs = [w.machine.as_tensor(x) for x in initial_state_and_scan_inputs[states:]]
    backward = [d == 1 for d in scan_input_directions or [0] * num_scan_inputs]
    given = [
        first(tf.reverse(x, [axis % len(x.shape)]) if back else x, axis)
        for x, axis, back in zip(inputs, scan_input_axes or [0] * num_scan_inputs, backward, strict=True)
    ]
    after = [body.specs[name] for name in body.outputs[:states]]
    scanned = [body.specs[name] for name in body.outputs[states:]]
    run, count = staged(w, w.body(body)), sizes(given[0])[0]

    def again(i: Tensor, state: Any, rows: Any) -> Any:
        made = run(*state, *(x[i] for x in given))
        rows = [row.write(i, x) for row, x in zip(rows, made[states:], strict=True)]
        return i + 1, made[:states], rows

    i = tf.constant(0)
    variables = (i, start, [array_of(spec, count) for spec in scanned])
    shapes = (i.shape, invariants(start, after), [tf.TensorShape(None) for _ in scanned])
    count, state, rows = tf.while_loop(lambda i, *_: i < count, again, variables, shape_invariants=shapes)
    outputs = []
    axes = scan_output_axes or [0] * len(scanned)
    turned = [d == 1 for d in scan_output_directions or [0] * len(scanned)]
    for row, spec, axis, back in zip(rows, scanned, axes, turned, strict=True):
        y = stacked(row, spec, count)
        y = tf.reverse(y, [0]) if back else y
        outputs.append(last(y, axis))
    return (*state, *outputs)


def first(x: Tensor, axis: int) -> Tensor:
    """An axis in front of all others."""
    order = list(range(len(x.shape)))
    order.insert(0, order.pop(axis))
    return x if order[0] == 0 else tf.transpose(x, order)


def last(x: Tensor, axis: int) -> Tensor:
    """The first axis at another place."""
    order = list(range(1, len(x.shape)))
    order.insert(axis % len(x.shape), 0)
    return x if axis == 0 else tf.transpose(x, order)


@lowers("Gradient", DOMAIN)
def gradient(w: Any, *inputs: Tensor, body: Program) -> Tensor:
    """The gradients of the body's output by the first of its inputs, one for each output of the node."""
    by = inputs[: len(w.step.outputs)]
    with tf.GradientTape() as tape:
        tape.watch(by)
        (y,) = w.body(body)(*inputs)
    return tuple(tape.gradient(w.machine.as_tensor(y), by, unconnected_gradients=tf.UnconnectedGradients.ZERO))
