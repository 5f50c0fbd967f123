"""If, Loop, Scan, SequenceMap and Gradient: lax's own where jax traces their conditions, Python's where they are known.

A body whose state keeps its shapes becomes lax.scan or lax.while_loop. One whose shapes change, or that reads sizes
from its state, is unrolled; how often it runs has to be known then.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_ir as ir
from jax import lax

from zoo.converters.graph import DOMAIN
from zoo.converters.writers.driver import Body
from zoo.converters.writers.jax import lowers
from zoo.converters.writers.jax.trace import Untraceable, is_known

Value = Any
Run = Callable[..., list[Value]]


@lowers("If")
def if_(w: Any, cond: Value, *, then_branch: Body, else_branch: Body) -> Value:
    """The outputs of the branch that the condition chooses."""
    chosen = w.known(cond)
    if chosen is not None:
        return tuple(w.body(then_branch if chosen.reshape(-1)[0] else else_branch)())
    branches = [_staged(w, w.body(branch), branch.graph) for branch in (then_branch, else_branch)]
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), jax.eval_shape(branch)) for branch in branches]
    if shapes[0] != shapes[1]:
        raise Untraceable(
            f"{w.name}: its branches give different shapes ({_shown(shapes[0])} and {_shown(shapes[1])}), "
            "and which one is taken is computed from what jax traces",
            hint="Call the model outside of jax.jit, jax.grad and jax.vmap.",
        )
    return tuple(lax.cond(cond.reshape(()), *branches))


def _shown(shapes: Any) -> str:
    return ", ".join(f"{dtype.name}{list(shape)}" for shape, dtype in shapes)


def _staged(w: Any, run: Run, graph: ir.Graph) -> Run:
    """A body whose results are jax arrays in the dtypes that the graph says."""
    return lambda *args, **options: [_array(w, x, v) for x, v in zip(run(*args, **options), graph.outputs, strict=True)]


def _array(w: Any, x: Value, value: ir.Value) -> Value:
    if isinstance(x, list):
        return [_array(w, item, value) for item in x]
    if x is None or not (is_known(x) or isinstance(x, jax.Array)):
        raise Untraceable(f"{w.name}: its body gives what jax can't trace: {type(x).__name__}")
    x = w.array(x)
    return lax.convert_element_type(x, x.dtype if value.dtype is None else w.dtype_of(value.dtype))


@lowers("Loop")
def loop(w: Any, M: Value, cond: Value, *v_initial: Value, body: Body) -> Value:
    """The body's state after its last run, and what it scanned: stacked along a new first axis."""
    run, states = w.body(body), len(v_initial)
    trips, goes_on = (None if x is None else w.known(x) for x in (M, cond))
    trips = None if trips is None else int(trips.reshape(-1)[0])
    is_true = cond is None or (goes_on is not None and bool(goes_on.reshape(-1)[0]))
    if not is_true and goes_on is not None:
        trips, is_true = 0, True
    empty = body.graph.outputs[1 + states :]
    if trips == 0 or not _traces(w, M, cond, *v_initial, body=body):
        return _unrolled(w, run, trips, v_initial, empty)
    inner = _staged(w, run, body.graph)
    try:
        return _scanned_loop(w, inner, run, M, cond, trips, is_true, v_initial, len(empty))
    except Untraceable:
        if trips is None or not is_true:
            raise
        return _unrolled(w, run, trips, v_initial, empty)


def _traces(w: Any, *args: Value, body: Body) -> bool:
    """Whether jax traces any of the values that a body is given; if none, Python runs it."""
    held = [body.outer[value] for value in body.captured]
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves([args, held]))


def _unrolled(w: Any, run: Run, trips: int | None, state: Sequence[Value], empty: Sequence[ir.Value]) -> Value:
    """Python's own loop; it ends when the body says so, which has to be known then."""
    values, rows, i = list(state), [], 0
    while trips is None or i < trips:
        goes_on, *made = run(np.array(i, np.int64), np.array(True), *values, step=i)
        values = made[: len(values)]
        rows.append(made[len(values) :])
        i += 1
        known = w.known(goes_on)
        if known is None:
            raise Untraceable(
                f"{w.name}: whether it goes on is computed from what jax traces, and its state changes its shape",
                hint="Call the model outside of jax.jit, jax.grad and jax.vmap.",
            )
        if not known.reshape(-1)[0]:
            break
    return (*values, *_columns(w, rows, empty, [0] * len(empty)))


def _columns(w: Any, rows: Sequence[Sequence[Value]], empty: Sequence[ir.Value], axes: Sequence[int]) -> list[Value]:
    """What a body scanned, each stacked along an axis; of no runs an empty one, a size that is not known being 0."""
    made = []
    for i, (value, axis) in enumerate(zip(empty, axes, strict=True)):
        items = [row[i] for row in rows]
        if not items:
            shape = [d if isinstance(d, int) else 0 for d in value.shape or ()]
            shape.insert(axis % (len(shape) + 1), 0)
            is_text = value.dtype == ir.DataType.STRING
            made.append(np.empty(shape, object if is_text else (value.dtype or ir.DataType.FLOAT).numpy()))
        elif all(isinstance(item, np.ndarray) for item in items):
            made.append(np.stack(items, axis))
        else:
            made.append(jnp.stack([w.array(item) for item in items], axis))
    return made


def _scanned_loop(
    w: Any,
    inner: Run,
    run: Run,
    M: Value,
    cond: Value,
    trips: int | None,
    is_true: bool,
    initial: Sequence[Value],
    scans: int,
) -> Value:
    """A loop as lax.scan, if how often it runs is known, or as lax.while_loop. Raises Untraceable."""
    states = len(initial)
    start = [_initial(w, x) for x in initial]
    counter = lax.convert_element_type(w.array(np.array(0, np.int64)), int)
    always = [is_true]

    def step(carry: Any, i: Value) -> tuple[Any, list[Value]]:
        raw = run(i, np.array(True), *carry, step=i)
        always[0] &= is_known(raw[0]) and bool(np.all(raw[0]))
        made = [w.array(x) if is_known(x) else x for x in raw[1:]]
        return made[:states], made[states:]

    kept = _probe(w, lambda: step(start, counter), start)
    if always[0] and trips is not None:
        state, scanned = lax.scan(lambda c, i: _as(step(c, i), kept), start, jnp.arange(trips, dtype=counter.dtype))
        return (*state, *scanned)
    if scans:
        raise Untraceable(
            f"{w.name}: how often it runs decides over a shape, and is computed from what jax traces",
            hint="Call the model outside of jax.jit, jax.grad and jax.vmap.",
        )
    limit = None if M is None else lax.convert_element_type(w.array(M).reshape(()), counter.dtype)
    first = jnp.asarray(True) if cond is None else w.array(cond).reshape(())

    def goes_on(carry: Any) -> Value:
        i, holds, _ = carry
        return holds if limit is None else holds & (i < limit)

    def again(carry: Any) -> Any:
        i, holds, state = carry
        made = inner(i, holds, *state, step=i)
        new, _ = _as((made[1 : 1 + states], []), kept)
        return i + 1, made[0].reshape(()), new

    return tuple(lax.while_loop(goes_on, again, (counter, first, start))[2])


def _initial(w: Any, x: Value) -> Value:
    if isinstance(x, list) or x is None or not (is_known(x) or isinstance(x, jax.Array)):
        raise Untraceable(f"{w.name}: its state is a sequence or an optional, which lax can't carry")
    x = w.array(x)
    return lax.convert_element_type(x, x.dtype)  # strongly typed


def _probe(w: Any, step: Callable[[], Any], start: Sequence[Any]) -> list[Any]:
    """Shape and dtype of the state, which one run has to give back. Raises Untraceable."""
    after = jax.eval_shape(lambda: step()[0])
    for x, y in zip(start, after, strict=True):
        if x.shape != y.shape:
            raise Untraceable(
                f"{w.name}: its state changes its shape, from {list(x.shape)} to {list(y.shape)}, "
                "and how often it runs is computed from what jax traces",
                hint="Call the model outside of jax.jit, jax.grad and jax.vmap.",
            )
    return [x.dtype for x in start]


def _as(made: tuple[Any, Any], dtypes: Sequence[Any]) -> tuple[list[Value], Any]:
    state, scanned = made
    return [lax.convert_element_type(x, dtype) for x, dtype in zip(state, dtypes, strict=True)], scanned


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
    run, states = w.body(body), len(initial_state_and_scan_inputs) - num_scan_inputs
    given, inputs = initial_state_and_scan_inputs[:states], initial_state_and_scan_inputs[states:]
    outputs = body.graph.outputs[states:]
    backward = [d == 1 for d in scan_input_directions or [0] * num_scan_inputs]
    rows = [_rows(*row) for row in zip(inputs, scan_input_axes or [0] * num_scan_inputs, backward, strict=True)]
    axes = list(scan_output_axes or [0] * len(outputs))
    turned = [d == 1 for d in scan_output_directions or [0] * len(outputs)]
    count = rows[0].shape[0]
    try:
        start = [_initial(w, x) for x in given]
        columns = [w.array(x) for x in rows]
        if any(isinstance(x, np.ndarray) for x in columns):
            raise Untraceable(f"{w.name}: strings")

        def step(carry: Any, at: Any) -> tuple[Any, list[Value]]:
            i, *items = at
            made = _staged(w, run, body.graph)(*carry, *items, step=i)
            return made[:states], made[states:]

        if not count:
            raise Untraceable(f"{w.name}: nothing to scan")
        kept = _probe(w, lambda: step(start, (0, *(x[0] for x in columns))), start)
        state, stacks = lax.scan(lambda c, at: _as(step(c, at), kept), start, (jnp.arange(count), *columns))
        made = [jnp.moveaxis(x, 0, axis) for x, axis in zip(stacks, axes, strict=True)]
    except Untraceable:
        state, stacks = list(given), []
        for i in range(count):
            after = run(*state, *(x[i] for x in rows), step=i)
            state = after[:states]
            stacks.append(after[states:])
        made = _columns(w, stacks, outputs, axes)
    flipped = [_flip(x, axis) if back else x for x, axis, back in zip(made, axes, turned, strict=True)]
    return (*state, *flipped)


def _rows(x: Value, axis: int, backward: bool) -> Value:
    module: Any = np if isinstance(x, np.ndarray) else jnp
    x = module.moveaxis(x, axis, 0)
    return x[::-1] if backward else x


def _flip(x: Value, axis: int) -> Value:
    return (np if isinstance(x, np.ndarray) else jnp).flip(x, axis)


@lowers("Gradient", DOMAIN)
def gradient(w: Any, *inputs: Value, body: Body) -> Value:
    """The derivatives of the body's output, added up, by the first of its inputs: one for each output of the node."""
    run, n = w.body(body), len(w.node.outputs)
    y, backward = jax.vjp(lambda *by: w.array(run(*by, *inputs[n:])[0]), *inputs[:n])
    return backward(jnp.ones_like(y))


@lowers("SequenceMap")
def sequence_map(w: Any, input_sequence: Value, *additional_inputs: Value, body: Body) -> Value:
    """The body for each item of a sequence, with one of each further sequence and the further tensors."""
    run = w.body(body)
    columns: list[list[Value]] = [[] for _ in body.graph.outputs]
    for i, item in enumerate(input_sequence):
        given = (other[i] if isinstance(other, list) else other for other in additional_inputs)
        for column, made in zip(columns, run(item, *given, step=i), strict=True):
            column.append(made)
    return tuple(columns)
