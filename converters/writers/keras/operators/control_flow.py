"""If, Loop, Scan and SequenceMap: Python's own where their conditions have numbers, Keras' where they are traced."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import ops

from zoo.converters.writers.keras import backends
from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.keras.dtypes import available, held, numpy_dtype
from zoo.converters.writers.keras.operators.sizes import Size, is_known, places, sizes
from zoo.converters.writers.keras.program import Program, Spec

Tensor = Any
Run = Callable[..., list[Tensor]]


@lowers("If")
def if_(w: Any, cond: Tensor, *, then_branch: Program, else_branch: Program) -> Tensor:
    """The outputs of the branch that the condition chooses."""
    chosen = w.numbers(cond)
    if chosen is not None:
        return tuple(w.body(then_branch if chosen.reshape(-1)[0] else else_branch)())
    branches = [_staged(w, w.body(branch)) for branch in (then_branch, else_branch)]
    return tuple(ops.cond(ops.reshape(cond, ()), *branches))


def _staged(w: Any, run: Run) -> Run:
    """A body whose results are tensors, and nothing else."""

    def staged(*args: Tensor) -> list[Tensor]:
        made = run(*args)
        if any(x is None or isinstance(x, list) for x in made):
            raise w.refused("its body gives a sequence or an optional, which a traced graph can't choose")
        return [backends.as_tensor(x) for x in made]

    return staged


@lowers("Loop")
def loop(w: Any, M: Tensor, cond: Tensor, *v_initial: Tensor, body: Program) -> Tensor:
    """The body's state after its last run, and what it scanned: stacked along a new first axis."""
    run, states = w.body(body), len(v_initial)
    specs = [body.specs[name] for name in body.outputs[1 + states :]]
    trips, goes_on = (None if x is None else w.numbers(x) for x in (M, cond))
    if (M is not None and trips is None) or (cond is not None and goes_on is None):
        return _traced_loop(w, run, M, cond, v_initial, len(specs))
    most = None if trips is None else int(trips.reshape(-1)[0])
    state, rows, i = list(v_initial), [], 0
    holds = True if goes_on is None else bool(goes_on.reshape(-1)[0])
    while holds and (most is None or i < most):
        again, *made = run(np.array(i, np.int64), np.array(True), *state)
        known = w.numbers(again)
        if known is None:
            if i or specs:
                raise w.refused("whether it goes on depends on the numbers in the model's inputs, and it scans")
            return _traced_loop(w, run, M, cond, v_initial, 0)
        state, holds, i = made[:states], bool(known.reshape(-1)[0]), i + 1
        rows.append(made[states:])
    return (*state, *_columns(rows, specs, [0] * len(specs)))


def _traced_loop(w: Any, run: Run, M: Tensor, cond: Tensor, initial: Sequence[Tensor], scans: int) -> Tensor:
    """A loop as Keras': its state keeps its shapes."""
    if scans:
        raise w.refused("how often it runs depends on the numbers in the model's inputs, and it scans")
    inner = _staged(w, run)
    start = [backends.as_tensor(x) for x in initial]
    counter = ops.convert_to_tensor(0, dtype=available("int64"))
    first = ops.convert_to_tensor(True) if cond is None else ops.reshape(cond, ())
    limit = None if M is None else ops.cast(ops.reshape(M, ()), available("int64"))

    def goes_on(i: Tensor, holds: Tensor, *state: Tensor) -> Tensor:
        return holds if limit is None else ops.logical_and(holds, i < limit)

    def again(i: Tensor, holds: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        made = inner(i, holds, *state)
        return i + 1, ops.reshape(made[0], ()), *made[1:]

    return tuple(ops.while_loop(goes_on, again, (counter, first, *start))[2:])


def _columns(rows: Sequence[Sequence[Tensor]], specs: Sequence[Spec], axes: Sequence[int]) -> list[Tensor]:
    """What a body scanned, each stacked along an axis; of no runs an empty one, a size that is not known being 0."""
    made = []
    for i, (spec, axis) in enumerate(zip(specs, axes, strict=True)):
        items = [row[i] for row in rows]
        if items:
            known = all(isinstance(item, np.ndarray) for item in items)
            made.append(np.stack(items, axis) if known else ops.stack([backends.as_tensor(x) for x in items], axis))
            continue
        shape = [n or 0 for n in spec.shape or ()]
        shape.insert(axis % (len(shape) + 1), 0)
        made.append(np.zeros(shape, numpy_dtype(held(ir.DataType[spec.dtype or "FLOAT"]))))
    return made


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
    run, states = w.body(body), len(initial_state_and_scan_inputs) - num_scan_inputs
    given, inputs = initial_state_and_scan_inputs[:states], initial_state_and_scan_inputs[states:]
    specs = [body.specs[name] for name in body.outputs[states:]]
    backward = [d == 1 for d in scan_input_directions or [0] * num_scan_inputs]
    rows = [
        ops.moveaxis(ops.flip(x, axis) if back else x, axis, 0)
        for x, axis, back in zip(inputs, scan_input_axes or [0] * num_scan_inputs, backward, strict=True)
    ]
    axes = list(scan_output_axes or [0] * len(specs))
    turned = [d == 1 for d in scan_output_directions or [0] * len(specs)]
    count = sizes(rows[0])[0]
    if is_known(count) and (count < 2 or all(w.numbers(x) is not None for x in (*given, *rows))):
        state, stacks = list(given), []
        for i in range(count):
            after = run(*state, *(x[i] for x in rows))
            state = after[:states]
            stacks.append(after[states:])
        made = _columns(stacks, specs, axes)
    else:
        state, made = _traced_scan(_staged(w, run), given, rows, count)
        made = [ops.moveaxis(x, 0, axis) for x, axis in zip(made, axes, strict=True)]
    flipped = [ops.flip(x, axis) if back else x for x, axis, back in zip(made, axes, turned, strict=True)]
    return (*state, *flipped)


def _traced_scan(
    inner: Run, given: Sequence[Tensor], rows: Sequence[Tensor], count: Size
) -> tuple[list[Tensor], list[Tensor]]:
    """A scan as Keras'; what it scans is carried as well, as TensorFlow's wants it.

    Where the length is free it goes over places: TensorFlow's takes several tensors of a known length alone.
    """
    states, start = len(given), [backends.as_tensor(x) for x in given]
    first = inner(*start, *(x[0] for x in rows))
    carried = (*start, *(ops.zeros_like(x) for x in first[states:]))

    def step(carry: tuple[Tensor, ...], now: Any) -> tuple[Any, Any]:
        at = now if is_known(count) else [ops.take(x, now, axis=0) for x in rows]
        made = tuple(inner(*carry[:states], *at))
        return made, made

    last, stacks = ops.scan(step, carried, tuple(rows) if is_known(count) else places(count))
    return list(last[:states]), list(stacks[states:])


@lowers("SequenceMap")
def sequence_map(w: Any, input_sequence: Tensor, *additional_inputs: Tensor, body: Program) -> Tensor:
    """The body for each item of a sequence, with one of each further sequence and the further tensors."""
    run = w.body(body)
    columns: list[list[Tensor]] = [[] for _ in body.outputs]
    for i, item in enumerate(input_sequence):
        given = (other[i] if isinstance(other, list) else other for other in additional_inputs)
        for column, made in zip(columns, run(item, *given), strict=True):
            column.append(made)
    return tuple(columns)
