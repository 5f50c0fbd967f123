"""MXNet's fused RNN operator, and the operators on sequences of several lengths.

All weights of an RNN stand in one vector: for each layer and direction the weights [G * H, I] and [G * H, H], then, in
the same order, the biases [G * H] twice (src/operator/rnn-inl.h, GetRnnParamSize). Data are [T, N, I].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import onnx_ir as ir

from zoo.converters.readers.mxnet_graph import lowers
from zoo.converters.readers.mxnet_symbol import Params
from zoo.converters.readers.scribe import Fault, Scribe


class Kind(NamedTuple):
    """What an RNN is in ONNX, and MXNet's gates in ONNX's order."""

    op_type: str
    order: tuple[int, ...]
    attributes: dict[str, Any]


KINDS = {
    "rnn_relu": Kind("RNN", (0,), {"activations": ["Relu"]}),
    "rnn_tanh": Kind("RNN", (0,), {"activations": ["Tanh"]}),
    "lstm": Kind("LSTM", (0, 3, 1, 2), {}),  # input, forget, cell, output -> input, output, forget, cell
    "gru": Kind("GRU", (1, 0, 2), {"linear_before_reset": 1}),  # reset, update, new -> update, reset, new
}


@lowers("_rnn_param_concat")
def rnn_param_concat(op: Scribe, p: Params, *xs: ir.Value) -> Any:
    """The vector out of its parts."""
    return op.Concat(*xs, axis=p.integer("dim", 1))


@lowers("RNN")
def rnn(op: Scribe, p: Params, x: ir.Value, weights: ir.Value, *states: ir.Value) -> Any:
    """The output is [T, N, D * H]; with `state_outputs` the last states [L * D, N, H] as well."""
    kind = KINDS.get(p.text("mode"))
    if kind is None or p.maybe_int("projection_size") is not None:
        raise Fault(f"an RNN of mode {p.text('mode')[:40]!r}, or with a projection", is_refusal=True)
    hidden, layers = p.integer("state_size"), p.integer("num_layers")
    directions = 2 if p.flag("bidirectional") else 1
    op.learn(x, 3)
    parts = _Parts(op, weights, kind, hidden, layers, directions)
    batch = op.Shape(x, start=1, end=2)
    ends: list[list[ir.Value]] = []
    for layer in range(layers):
        begin = [
            _state(op, state, layer, directions, batch, hidden) for state in states[: 1 + (p.text("mode") == "lstm")]
        ]
        activations = kind.attributes.get("activations")
        attributes = kind.attributes | ({"activations": activations * directions} if activations else {})
        y, *last = getattr(op, kind.op_type)(
            x,
            parts.weight(layer, of_input=True),
            parts.weight(layer, of_input=False),
            parts.bias(layer),
            None,
            *begin,
            outputs=3 if kind.op_type == "LSTM" else 2,
            hidden_size=hidden,
            direction="bidirectional" if directions == 2 else "forward",
            **attributes,
        )
        ends.append(last)
        x = op.reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1])
    if not p.flag("state_outputs"):
        return x
    return [x, *(op.Concat(*of_layers, axis=0) for of_layers in zip(*ends, strict=True))]


def _state(op: Scribe, state: ir.Value, layer: int, directions: int, batch: ir.Value, hidden: int) -> ir.Value:
    """One layer's part of a first state [L * D, N, H], whose batch may be a 1 or 0 that stands for any."""
    begin, end = op.const([layer * directions]), op.const([(layer + 1) * directions])
    part = op.Slice(state, begin, end, op.const([0]))
    size = op.Concat(op.const([directions]), batch, op.const([hidden]), axis=0)
    return op.Expand(part, size)  # type: ignore[no-any-return]


class _Parts:
    """The weights of a layer, cut out of the vector and put into ONNX's order."""

    def __init__(self, op: Scribe, vector: ir.Value, kind: Kind, hidden: int, layers: int, directions: int) -> None:
        self.op, self.vector, self.kind, self.hidden, self.directions = op, vector, kind, hidden, directions
        self.gates = len(kind.order)
        rows = self.gates * hidden
        total = op.sizes_of(vector)[0] if op.rank(vector, 1) == 1 else None
        if total is None or hidden < 1 or layers < 1 or layers > 1024:
            raise Fault("an RNN whose vector of weights has no known size", is_refusal=True)
        above = (layers - 1) * directions * rows * (directions * hidden + hidden + 2)
        self.inputs, rest = divmod(total - above, directions * rows)
        self.inputs -= hidden + 2
        if rest or self.inputs < 1:
            raise Fault(f"an RNN of {layers} layers of {hidden} whose vector has {total:,} weights")
        self.layers, self.rows = layers, rows

    def _place(self, layer: int, direction: int) -> int:
        first = self.rows * (self.inputs + self.hidden)
        later = self.rows * (self.directions * self.hidden + self.hidden)
        if layer == 0:
            return direction * first
        return self.directions * first + ((layer - 1) * self.directions + direction) * later

    def weight(self, layer: int, *, of_input: bool) -> ir.Value:
        """[D, G * H, I], or [D, G * H, H] of the state."""
        inputs = self.inputs if layer == 0 else self.directions * self.hidden
        columns = inputs if of_input else self.hidden
        found = []
        for direction in range(self.directions):
            at = self._place(layer, direction) + (0 if of_input else self.rows * inputs)
            found.append(self._cut(at, columns))
        return found[0] if len(found) == 1 else self.op.Concat(*found, axis=0)  # type: ignore[no-any-return]

    def bias(self, layer: int) -> ir.Value:
        """[D, 2 * G * H]."""
        start = self._place(self.layers, 0)
        found = []
        for direction in range(self.directions):
            at = start + 2 * self.rows * (layer * self.directions + direction)
            both = [self._cut(at + i * self.rows, 1) for i in range(2)]
            found.append(self.op.reshape(self.op.Concat(*both, axis=1), [1, -1]))
        return found[0] if len(found) == 1 else self.op.Concat(*found, axis=0)  # type: ignore[no-any-return]

    def _cut(self, at: int, columns: int) -> ir.Value:
        """The gates [1, G * H, columns] that begin at a place of the vector."""
        op = self.op
        part = op.Slice(self.vector, op.const([at]), op.const([at + self.rows * columns]), op.const([0]))
        if self.kind.order != tuple(range(self.gates)):
            by_gate = op.reshape(part, [self.gates, self.hidden * columns])
            part = op.Gather(by_gate, op.const(list(self.kind.order)), axis=0)
        return op.reshape(part, [1, self.rows, columns])


def _places(op: Scribe, x: ir.Value, axis: int) -> ir.Value:
    """0 ... T - 1 along an axis of x, so that it broadcasts with [T, N] or [N, T]."""
    places = op.Range(op.const(0), op.Squeeze(op.size(x, axis)), op.const(1))
    return op.reshape(places, [-1, 1] if axis == 0 else [1, -1])


def _lengths(op: Scribe, x: ir.Value, lengths: ir.Value, axis: int) -> ir.Value:
    return op.Unsqueeze(op.cast(lengths, ir.DataType.INT64), op.const([axis]))  # type: ignore[no-any-return]


def _axis(p: Params) -> int:
    axis = p.integer("axis", 0)
    if axis not in (0, 1):
        raise Fault(f"a sequence along axis {axis}")
    return axis


@lowers("SequenceMask")
def sequence_mask(op: Scribe, p: Params, x: ir.Value, lengths: ir.Value | None = None) -> Any:
    """`value` behind each sequence's end."""
    if lengths is None or not p.flag("use_sequence_length"):
        return op.Identity(x)
    axis, rank = _axis(p), op.rank(x)
    inside = op.Less(_places(op, x, axis), _lengths(op, x, lengths, axis))
    inside = op.Unsqueeze(inside, op.const(list(range(2, rank)))) if rank > 2 else inside
    return op.Where(inside, x, op.scalar(p.number("value", 0.0), x))


@lowers("SequenceLast")
def sequence_last(op: Scribe, p: Params, x: ir.Value, lengths: ir.Value | None = None) -> Any:
    """Each sequence's last step."""
    axis = _axis(p)
    if lengths is None or not p.flag("use_sequence_length"):
        return op.Gather(x, op.const(-1), axis=axis)
    by_row = op.Transpose(x, perm=[1, 0, *range(2, op.rank(x))]) if axis == 0 else x
    last = op.Sub(op.cast(lengths, ir.DataType.INT64), op.const(1))
    return op.GatherND(by_row, op.Unsqueeze(last, op.const([1])), batch_dims=1)


@lowers("SequenceReverse")
def sequence_reverse(op: Scribe, p: Params, x: ir.Value, lengths: ir.Value | None = None) -> Any:
    """Each sequence from its end to its beginning; what is behind its end stays."""
    if lengths is None or not p.flag("use_sequence_length"):
        return op.Slice(x, op.const([-1]), op.const([-(2**62)]), op.const([0]), op.const([-1]))
    return op.ReverseSequence(x, op.cast(lengths, ir.DataType.INT64), time_axis=0, batch_axis=1)


def _heads(op: Scribe, x: ir.Value, heads: int, parts: int) -> list[ir.Value]:
    """[L, N, heads * parts * D] as `parts` tensors [N * heads, L, D]."""
    op.learn(x, 3)
    depth = _depth(op, x, heads, parts)
    split = op.reshape(x, [op.size(x, 0), -1, heads, parts, depth])
    turned = op.Transpose(split, perm=[3, 1, 2, 0, 4])
    found = op.Split(turned, axis=0, num_outputs=parts, outputs=parts) if parts > 1 else turned
    return [op.reshape(part, [-1, op.size(x, 0), depth]) for part in (found if isinstance(found, tuple) else (found,))]


def _depth(op: Scribe, x: ir.Value, heads: int, parts: int) -> ir.Value:
    return op.Div(op.size(x, 2), op.const([heads * parts]))  # type: ignore[no-any-return]


def _scores(op: Scribe, query: ir.Value, key: ir.Value) -> ir.Value:
    """Products of queries and keys over sqrt(D): [N * heads, Lq, Lk]."""
    depth = op.Cast(op.Shape(query, start=-1), to=int(query.dtype or ir.DataType.FLOAT))
    return op.MatMul(op.Div(query, op.Sqrt(depth)), op.Transpose(key, perm=[0, 2, 1]))  # type: ignore[no-any-return]


def _attended(op: Scribe, attention: ir.Value, value: ir.Value, heads: int) -> ir.Value:
    """The weighted values as [L, N, heads * D]."""
    made = op.MatMul(attention, value)
    by_head = op.reshape(made, [-1, heads, op.size(made, 1), op.size(made, 2)])
    return op.reshape(op.Transpose(by_head, perm=[2, 0, 1, 3]), [0, 0, -1])


@lowers("_contrib_interleaved_matmul_selfatt_qk")
def selfatt_qk(op: Scribe, p: Params, qkv: ir.Value) -> Any:
    """Scores of queries and keys that stand in one tensor [L, N, heads * 3 * D]."""
    query, key, _ = _heads(op, qkv, p.integer("heads"), 3)
    return _scores(op, query, key)


@lowers("_contrib_interleaved_matmul_selfatt_valatt")
def selfatt_valatt(op: Scribe, p: Params, qkv: ir.Value, attention: ir.Value) -> Any:
    """The values of that tensor, weighted."""
    return _attended(op, attention, _heads(op, qkv, p.integer("heads"), 3)[2], p.integer("heads"))


@lowers("_contrib_interleaved_matmul_encdec_qk")
def encdec_qk(op: Scribe, p: Params, query: ir.Value, kv: ir.Value) -> Any:
    """The same of queries [Lq, N, heads * D] and of keys and values [Lk, N, heads * 2 * D]."""
    heads = p.integer("heads")
    return _scores(op, _heads(op, query, heads, 1)[0], _heads(op, kv, heads, 2)[0])


@lowers("_contrib_interleaved_matmul_encdec_valatt")
def encdec_valatt(op: Scribe, p: Params, kv: ir.Value, attention: ir.Value) -> Any:
    """The values of that tensor, weighted."""
    return _attended(op, attention, _heads(op, kv, p.integer("heads"), 2)[1], p.integer("heads"))
