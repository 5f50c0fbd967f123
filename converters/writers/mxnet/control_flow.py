"""If, Loop, Scan and SequenceMap: Python's own, while the graph is walked.

A symbol has the branch that a known condition chooses, and the runs of a body whose count is known, one behind the
other. Where they are computed, an unhybridized Gluon model and a Runner run one operator after the other.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.writers.driver import Body
from zoo.converters.writers.mxnet import lowers
from zoo.converters.writers.mxnet.trace import Untraceable, is_known
from zoo.converters.writers.mxnet.types import mxnet_dtype

Value = Any
MOST_RUNS = 256  # of a body in a symbol


@lowers("If")
def if_(w: Any, cond: Value, *, then_branch: Body, else_branch: Body) -> Value:
    """The outputs of the branch that the condition chooses."""
    return tuple(w.body(then_branch if w.number(cond) else else_branch)())


@lowers("Loop")
def loop(w: Any, M: Value, cond: Value, *v_initial: Value, body: Body) -> Value:
    """The body's state after its last run, and what it scanned: stacked along a new first axis."""
    run, states = w.body(body), len(v_initial)
    trips = None if M is None else int(w.number(M))
    goes_on = cond is None or bool(w.number(cond))
    _check_count(w, trips)
    values, rows, i = list(v_initial), [], 0
    while goes_on and (trips is None or i < trips):
        again, *made = run(np.array(i, np.int64), np.array(True), *values)
        values = made[:states]
        rows.append(made[states:])
        i += 1
        goes_on = bool(w.number(again))
    return (*values, *_columns(w, rows, body.graph.outputs[1 + states :], None))


def _check_count(w: Any, count: int | None) -> None:
    if w.is_symbolic and (count is None or count > MOST_RUNS):
        raise Untraceable(
            f"{w.name}: a symbol of {'an unknown number of' if count is None else count} runs of its body"
        )


def _columns(
    w: Any, rows: Sequence[Sequence[Value]], empty: Sequence[ir.Value], axes: Sequence[int] | None
) -> list[Value]:
    """What a body scanned, each stacked along an axis; of no runs an empty one, a size that is not known being 0."""
    made = []
    for i, value in enumerate(empty):
        items = [row[i] for row in rows]
        axis = 0 if axes is None else axes[i]
        if items and all(is_known(item) for item in items):
            made.append(np.stack(items, axis))
        elif items:
            made.append(w.np.stack([w.array(item) for item in items], axis=axis))
        else:
            shape = [d if isinstance(d, int) else 0 for d in value.shape or ()]
            shape.insert(axis % (len(shape) + 1), 0)
            made.append(np.empty(shape, mxnet_dtype(value.dtype or ir.DataType.FLOAT)))
    return made


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
    values, inputs = list(initial_state_and_scan_inputs[:states]), initial_state_and_scan_inputs[states:]
    outputs = body.graph.outputs[states:]
    axes = [a % w.rank(states + i) for i, a in enumerate(scan_input_axes or [0] * num_scan_inputs)]
    count = w.whole(states)[axes[0]]
    _check_count(w, count)
    backward = scan_input_directions or [0] * num_scan_inputs
    rows: list[Sequence[Value]] = []
    for i in range(count):
        at = [count - 1 - i if back else i for back in backward]
        made = run(*values, *(_row(w, x, axis, n) for x, axis, n in zip(inputs, axes, at, strict=True)))
        values = made[:states]
        rows.append(made[states:])
    turned = list(scan_output_directions or [0] * len(outputs))
    columns = []
    for i, back in enumerate(turned):
        ordered = [[row[i]] for row in (reversed(rows) if back else rows)]
        columns += _columns(w, ordered, outputs[i : i + 1], [(scan_output_axes or [0] * len(outputs))[i]])
    return (*values, *columns)


def _row(w: Any, x: Value, axis: int, i: int) -> Value:
    if is_known(x):
        return np.take(x, i, axis)
    return w.np.squeeze(w.F.slice_axis(x, axis=axis, begin=i, end=i + 1), axis=axis)


@lowers("SequenceMap")
def sequence_map(w: Any, input_sequence: Value, *additional_inputs: Value, body: Body) -> Value:
    """The body for each item of a sequence, with one of each further sequence and the further tensors."""
    run = w.body(body)
    columns: list[list[Value]] = [[] for _ in body.graph.outputs]
    for i, item in enumerate(input_sequence):
        given = (other[i] if isinstance(other, list) else other for other in additional_inputs)
        for column, made in zip(columns, run(item, *given), strict=True):
            column.append(made)
    return tuple(columns)
