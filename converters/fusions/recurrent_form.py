"""zoo::LSTM, zoo::GRU and zoo::RNN: recurrent layers as torch's modules keep them, and what they mean in ONNX.

    zoo::LSTM(X, H0, C0, weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ...)
        -> Y [sequence, batch, directions * hidden], H and C [layers * directions, batch, hidden]

with num_layers, bidirectional, bias and batch_first as attributes, and nonlinearity for an RNN. H0 and C0 are left out
where they are zero. A function is made for each of the forms, which its `overload` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx_ir as ir

from zoo.converters.expansions import Builder
from zoo.converters.graph import DOMAIN, OPSET

# where ONNX's gates (input, output, forget, cell; update, reset, new) stand among torch's (input, forget, cell, output;
# reset, update, new)
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
FIELDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Form(NamedTuple):
    """What the function body depends on, but for the size of the state."""

    kind: str
    layers: int
    directions: int
    bias: bool
    batch_first: bool
    has_state: bool
    nonlinearity: str

    @property
    def states(self) -> int:
        """How many there are: an LSTM has its cell besides."""
        return 2 if self.kind == "LSTM" else 1

    @property
    def attributes(self) -> dict[str, Any]:
        """As torch's module is made with them."""
        made: dict[str, Any] = {
            "num_layers": self.layers,
            "bidirectional": int(self.directions == 2),
            "bias": int(self.bias),
            "batch_first": int(self.batch_first),
        }
        return made | ({"nonlinearity": self.nonlinearity} if self.kind == "RNN" else {})

    def function(self, hidden: int) -> ir.Function:
        """The function of this form."""
        op = Builder()
        x = ir.Value(name="X")
        states = [ir.Value(name=name) for name in ("H0", "C0")[: self.states]]
        ends = [f"_l{k}{'_reverse' * d}" for k in range(self.layers) for d in range(self.directions)]
        fields = FIELDS if self.bias else FIELDS[:2]
        weights = [ir.Value(name=f"{field}{end}") for end in ends for field in fields]
        y, last = self._body(op, x, states, weights, hidden)
        body = ir.Graph([x, *states, *weights], [y, *last], nodes=op.nodes, opset_imports={"": OPSET}, name=self.kind)
        for i, value in enumerate(v for node in op.nodes for v in node.outputs):
            value.name = f"v{i}"
        parts = (self.layers, self.directions, *map(int, self[3:6]), hidden, self.nonlinearity)
        return ir.Function(
            DOMAIN,
            self.kind,
            "_".join(map(str, parts)),
            graph=body,
            attributes=[ir.Attr(a.name, a.type, None) for a in ir.convenience.convert_attributes(self.attributes)],
        )

    def _body(
        self, op: Builder, x: ir.Value, states: Sequence[ir.Value], weights: Sequence[ir.Value], hidden: int
    ) -> tuple[ir.Value, list[ir.Value]]:
        direction = "bidirectional" if self.directions == 2 else "forward"
        options: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        options |= {"linear_before_reset": 1} if self.kind == "GRU" else {}
        options |= {"activations": [self.nonlinearity.capitalize()] * self.directions} if self.kind == "RNN" else {}
        last: list[list[ir.Value]] = [[] for _ in states]
        each = 4 if self.bias else 2
        y = op.Transpose(x, perm=[1, 0, 2]) if self.batch_first else x
        for k in range(self.layers):
            stacks: list[list[ir.Value]] = [[], [], []]
            for d in range(self.directions):
                at = (k * self.directions + d) * each
                ordered = [self._in_onnxs_order(op, value) for value in weights[at : at + each]]
                joined = ordered if not self.bias else [*ordered[:2], op.Concat(*ordered[2:], axis=0)]
                for stack, value in zip(stacks, joined, strict=False):
                    stack.append(op.Unsqueeze(value, op.const([0])))
            given = [op.Concat(*stack, axis=0) if stack else None for stack in stacks]
            first = [k * self.directions, (k + 1) * self.directions]
            begin = [
                op.Slice(s, op.const(first[:1]), op.const(first[1:]), op.const([0])) if self.has_state else None
                for s in states
            ]
            made = getattr(op, self.kind)(y, *given, None, *begin, outputs=1 + self.states, **options)
            y = op.Reshape(op.Transpose(made[0], perm=[0, 2, 1, 3]), op.const([0, 0, -1]))
            for values, value in zip(last, made[1:], strict=True):
                values.append(value)
        whole = [op.Concat(*values, axis=0) for values in last]
        return op.Transpose(y, perm=[1, 0, 2]) if self.batch_first else op.Identity(y), whole

    def _in_onnxs_order(self, op: Builder, value: ir.Value) -> ir.Value:
        gates = GATES[self.kind]
        if len(gates) == 1:
            return value
        parts = op.Split(value, outputs=len(gates), num_outputs=len(gates), axis=0)
        made: ir.Value = op.Concat(*(parts[g] for g in gates), axis=0)
        return made
