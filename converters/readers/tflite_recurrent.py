"""TFLite's fused recurrent operators as ONNX nodes: a Scan over the cell as tensorflow/lite/kernels computes it.

Inputs stand in the order of kernels/lstm_shared.h. Weights of gates are [units, width] each; those that a variant of
the cell lacks are absent: no input gate (coupled to the forget gate), no peepholes, no projection, no layer norms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from zoo.converters.readers.tf_nodes import Fault, Nodes, sizes_known
from zoo.converters.readers.tflite_operators import Call, Table, activation
from zoo.converters.readers.tflite_schema import ACTIVATIONS

TABLE = operator = Table()
GATES = ("i", "f", "c", "o")
INPUT, RECURRENT, PEEPHOLE, BIAS = 1, 5, 9, 12  # where the weights of a one-way LSTM begin
PROJECTION, PROJECTION_BIAS, STATE, CELL, NORMS = 16, 17, 18, 19, 20
EPSILON = 1e-8  # of the layer norms
Step = Callable[[Nodes, ir.Value, Sequence[ir.Value]], tuple[ir.Value, list[ir.Value]]]


def scan(b: Nodes, x: ir.Value, states: Sequence[ir.Value], step: Step, *, is_major: bool, backwards: bool) -> ir.Value:
    """What the step gives for each part of x [N, T, I], or [T, N, I], in the same order."""
    steps = x if is_major else b.op("Transpose", x, perm=[1, 0, 2])
    sizes = sizes_known(steps) or [None, None, None]
    inner = Nodes(b)
    before = [inner.input(f"state_{i}", ir.DataType.FLOAT, sizes_known(s)) for i, s in enumerate(states)]
    now = inner.input("now", ir.DataType.FLOAT, sizes[1:])
    y, after = step(inner, now, before)
    body = inner.body([*before, now], [*after, y], "step")
    direction = [int(backwards)]
    outs = b.branching(
        "Scan",
        [*states, y],
        *states,
        steps,
        fit=False,
        body=body,
        num_scan_inputs=1,
        scan_input_directions=direction,
        scan_output_directions=direction,
    )
    width = (sizes_known(y) or [None])[-1]
    outs[-1].shape = ir.Shape([*sizes[:2], width])
    return outs[-1] if is_major else b.op("Transpose", outs[-1], perm=[1, 0, 2])


def _plain(c: Call, *numbers: int) -> None:
    """Raise Fault where weights are quantised alone: their kernels round the states as well."""
    for i in numbers:
        if c.has(i) and c.entry(i).is_quantised:
            raise Fault(f"{c.step.kind} with quantised weights")


def _zeros(c: Call, x: ir.Value, units: int, *, is_major: bool) -> ir.Value:
    """[N, units] of zeros: what a state begins with."""
    axis = 1 if is_major else 0
    batch = c.b.op("Slice", c.b.op("Shape", x), c.b.ints(axis), c.b.ints(axis + 1))
    return c.b.op("Expand", c.b.number(0), c.b.op("Concat", batch, c.b.ints(units), axis=0))


def _product(b: Nodes, x: ir.Value, weights: ir.Value, bias: ir.Value | None = None) -> ir.Value:
    return b.op("Gemm", x, weights, bias, transB=1)


def _clipped(b: Nodes, x: ir.Value, limit: float) -> ir.Value:
    return b.op("Clip", x, b.number(-limit), b.number(limit)) if limit > 0 else x


def _lstm(c: Call, first: int, norms: int, *, backwards: bool, is_major: bool) -> ir.Value:
    """One direction of an LSTM, whose weights begin at input `first`, and its layer norms at `norms`."""
    at = first - INPUT
    _plain(c, *range(first, at + CELL))
    x, has = c[0], c.has
    weights = {
        (kind, gate): c[at + start + i] if has(at + start + i) else None
        for kind, start in (("x", INPUT), ("h", RECURRENT), ("b", BIAS))
        for i, gate in enumerate(GATES)
    }
    peepholes = {gate: c[at + PEEPHOLE + i] if has(at + PEEPHOLE + i) else None for i, gate in enumerate("ifo")}
    norm = {gate: c[norms + i] if norms and has(norms + i) else None for i, gate in enumerate(GATES)}
    projection = c[at + PROJECTION] if has(at + PROJECTION) else None
    projection_bias = c[at + PROJECTION_BIAS] if has(at + PROJECTION_BIAS) else None
    sizes, inner = sizes_known(c[at + INPUT + 1]), sizes_known(c[at + RECURRENT + 1])
    if sizes is None or inner is None or sizes[0] is None or inner[-1] is None:
        raise Fault(f"{c.step.kind} with weights of free sizes", is_refusal=False)
    kind = c.one_of("activation", ACTIVATIONS)
    cell_clip, projection_clip = float(c.option("cell_clip")), float(c.option("proj_clip"))

    def gate(b: Nodes, name: str, now: ir.Value, h: ir.Value, carry: ir.Value | None) -> ir.Value:
        bias = weights["b", name]
        left, right = weights["x", name], weights["h", name]
        if left is None or right is None:
            raise Fault(f"{c.step.kind} without the weights of gate {name!r}", is_refusal=False)
        y = b.op("Add", _product(b, now, left, None if norm[name] is not None else bias), _product(b, h, right))
        if carry is not None and peepholes.get(name) is not None:
            y = b.op("Add", y, b.op("Mul", carry, peepholes[name]))
        if norm[name] is not None:
            y = b.op("LayerNormalization", y, norm[name], bias, axis=-1, epsilon=EPSILON)
        return y

    def step(b: Nodes, now: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        h, carry = states
        forget = b.op("Sigmoid", gate(b, "f", now, h, carry))
        if weights["x", "i"] is None:
            enter = b.op("Sub", b.number(1), forget)
        else:
            enter = b.op("Sigmoid", gate(b, "i", now, h, carry))
        new = activation(b, gate(b, "c", now, h, None), kind)
        carry = _clipped(b, b.op("Add", b.op("Mul", forget, carry), b.op("Mul", enter, new)), cell_clip)
        leave = b.op("Sigmoid", gate(b, "o", now, h, carry))
        y = b.op("Mul", leave, activation(b, carry, kind))
        if projection is not None:
            y = _clipped(b, _product(b, y, projection, projection_bias), projection_clip)
        return y, [y, carry]

    states = [_zeros(c, x, inner[-1], is_major=is_major), _zeros(c, x, sizes[0], is_major=is_major)]
    return scan(c.b, x, states, step, is_major=is_major, backwards=backwards)


@operator("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(c: Call) -> Sequence[ir.Value]:
    """An LSTM over [N, T, I], its states zero at the beginning."""
    if c.option("diagonal"):
        raise Fault("UNIDIRECTIONAL_SEQUENCE_LSTM with diagonal weights")
    return [_lstm(c, INPUT, NORMS, backwards=False, is_major=bool(c.option("time_major")))]


@operator("UNIDIRECTIONAL_SEQUENCE_RNN")
def rnn(c: Call) -> Sequence[ir.Value]:
    """act(x W + h R + b) over [N, T, I]: (x, W, R, b, state)."""
    _plain(c, 1, 2)
    weights, inner, bias = c[1], c[2], c[3]
    kind, is_major = c.one_of("activation", ACTIVATIONS), bool(c.option("time_major"))
    units = (sizes_known(inner) or [None])[-1]
    if units is None:
        raise Fault(f"{c.step.kind} with weights of free sizes", is_refusal=False)

    def step(b: Nodes, now: ir.Value, states: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
        y = activation(b, b.op("Add", _product(b, now, weights, bias), _product(b, states[0], inner)), kind)
        return y, [y]

    return [scan(c.b, c[0], [_zeros(c, c[0], units, is_major=is_major)], step, is_major=is_major, backwards=False)]


@operator("BIDIRECTIONAL_SEQUENCE_LSTM")
def bidirectional_lstm(c: Call) -> Sequence[ir.Value]:
    """Both ways: weights of each direction behind each other, states of both, and no layer norms."""
    if any(c.has(i) for i in range(39, len(c))):
        raise Fault("BIDIRECTIONAL_SEQUENCE_LSTM with an auxiliary input")
    is_major = bool(c.option("time_major"))
    ahead = _lstm(c, 1, 0, backwards=False, is_major=is_major)
    behind = _lstm(c, 18, 0, backwards=True, is_major=is_major)
    return [c.b.op("Concat", ahead, behind, axis=-1)] if c.option("merge") else [ahead, behind]
